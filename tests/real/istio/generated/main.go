// Writes what istiod itself generates for folders of configurations, as Envoy config dumps.
//
//	generated INPUT OUTPUT [cluster.local]
//
// INPUT has a folder for each configuration: input.yaml (Kubernetes and Istio objects), mesh.yaml (mesh config) and
// proxies.json (which proxies ask, with their node metadata). OUTPUT gets a folder of the same name with
// PROXY.config_dump.json, push_status.json, istiod_warnings.log and validation.json (what the webhook says of each Istio object).
//
// With a domain as third argument istiod completes short host names as it does in a cluster; without it, as it does for
// objects from files.
//
// istiod's discovery server runs in this process, over a made-up API server that holds the objects; each proxy asks it by
// ADS for clusters, endpoints, listeners and routes, as Envoy does.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	v3 "istio.io/istio/pilot/pkg/xds/v3"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/namespace"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

// A proxy as proxies.json has it.
type proxy struct {
	File           string            `json:"file"`
	Kind           string            `json:"kind"`
	Name           string            `json:"name"`
	Namespace      string            `json:"namespace"`
	IP             string            `json:"ip"`
	Labels         map[string]string `json:"labels"`
	ServiceAccount string            `json:"serviceAccount"`
	Metadata       json.RawMessage   `json:"metadata"`
}

type verdict struct {
	Object   string   `json:"object"`
	Warnings []string `json:"warnings"`
	Error    string   `json:"error"`
}

// The objects of a text: those of Istio, and Kubernetes' own.
func read(path, domain string) (configs []config.Config, objects []kuberuntime.Object, verdicts []verdict, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, nil, err
	}
	// All objects are of one second, so that names decide where time would.
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	decoder := kubeyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<20)
	decode := kubelib.IstioCodec.UniversalDeserializer().Decode
	for {
		raw := map[string]any{}
		if err := decoder.Decode(&raw); err == io.EOF {
			return configs, objects, verdicts, nil
		} else if err != nil {
			return nil, nil, nil, err
		}
		if len(raw) == 0 {
			continue
		}
		body, err := json.Marshal(raw)
		if err != nil {
			return nil, nil, nil, err
		}
		kind := (&unstructured.Unstructured{Object: raw}).GroupVersionKind()
		schema, known := collections.Pilot.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind))
		if !known {
			object, _, err := decode(body, nil, nil)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%v: %w", kind, err)
			}
			// What an API server fills in.
			if service, is := object.(*corev1.Service); is {
				for i := range service.Spec.Ports {
					port := &service.Spec.Ports[i]
					if port.Protocol == "" {
						port.Protocol = corev1.ProtocolTCP
					}
					if port.TargetPort.IntVal == 0 && port.TargetPort.StrVal == "" {
						port.TargetPort = intstr.FromInt32(port.Port)
					}
				}
			}
			if pod, is := object.(*corev1.Pod); is {
				for _, container := range pod.Spec.Containers {
					for i := range container.Ports {
						if container.Ports[i].Protocol == "" {
							container.Ports[i].Protocol = corev1.ProtocolTCP
						}
					}
				}
			}
			objects = append(objects, object)
			continue
		}
		object := crd.IstioKind{}
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, nil, nil, err
		}
		converted, err := crd.ConvertObject(schema, &object, domain)
		if err != nil {
			return nil, nil, nil, err
		}
		if converted.CreationTimestamp.IsZero() {
			converted.CreationTimestamp = created
		}
		warning, refused := schema.ValidateConfig(*converted)
		said := verdict{Object: kind.Kind + "/" + converted.Namespace + "/" + converted.Name, Warnings: []string{}}
		if warning != nil {
			said.Warnings = strings.Split(warning.Error(), "\n")
		}
		if refused != nil {
			said.Error = refused.Error()
		} else {
			configs = append(configs, *converted)
		}
		verdicts = append(verdicts, said)
	}
}

// The Istio objects of namespaces that discoverySelectors let istiod see. Of Kubernetes' objects the server itself leaves
// the others out; the store in memory does not filter.
func selected(configs []config.Config, objects []kuberuntime.Object, settings *meshconfig.MeshConfig) ([]config.Config, error) {
	if len(settings.DiscoverySelectors) == 0 {
		return configs, nil
	}
	seen := map[string]bool{}
	for _, wanted := range settings.DiscoverySelectors {
		selector, err := namespace.LabelSelectorAsSelector(wanted)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			if found, is := object.(*corev1.Namespace); is && selector.Matches(labels.Set(found.Labels)) {
				seen[found.Name] = true
			}
		}
	}
	out := []config.Config{}
	for _, one := range configs {
		if seen[one.Namespace] {
			out = append(out, one)
		}
	}
	return out, nil
}

// One proxy's stream.
type stream struct {
	discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node *core.Node
}

// What the proxy gets of a kind, acknowledged. A kind nothing is asked of has nothing.
func (s stream) ask(kind string, names []string) ([]*anypb.Any, error) {
	request := &discovery.DiscoveryRequest{Node: s.node, TypeUrl: kind, ResourceNames: names}
	if err := s.Send(request); err != nil {
		return nil, err
	}
	for {
		answer, err := s.Recv()
		if err != nil {
			return nil, err
		}
		request := &discovery.DiscoveryRequest{TypeUrl: answer.TypeUrl, ResourceNames: names, ResponseNonce: answer.Nonce, VersionInfo: answer.VersionInfo}
		if answer.TypeUrl != kind {
			continue
		}
		if err := s.Send(request); err != nil {
			return nil, err
		}
		return answer.Resources, nil
	}
}

func written(resources []*anypb.Any, wrap func(body json.RawMessage) any) ([]any, error) {
	out := []any{}
	for _, resource := range resources {
		body, err := protojson.Marshal(resource)
		if err != nil {
			return nil, err
		}
		out = append(out, wrap(body))
	}
	return out, nil
}

func dump(connection *grpc.ClientConn, p proxy) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	metadata := &structpb.Struct{}
	if err := protojson.Unmarshal(p.Metadata, metadata); err != nil {
		return nil, err
	}
	own := map[string]any{}
	for key, value := range p.Labels {
		own[key] = value
	}
	given, err := structpb.NewStruct(map[string]any{
		"CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": p.IP, "ISTIO_VERSION": "1.30.3", "LABELS": own, "MESH_ID": "cluster.local",
		"NAMESPACE": p.Namespace, "SERVICE_ACCOUNT": p.ServiceAccount,
	})
	if err != nil {
		return nil, err
	}
	for key, value := range given.Fields {
		if _, set := metadata.Fields[key]; !set {
			metadata.Fields[key] = value
		}
	}
	id := fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", p.Kind, p.IP, p.Name, p.Namespace, p.Namespace)
	asks := stream{client, &core.Node{Id: id, Metadata: metadata}}
	clusters, err := asks.ask(v3.ClusterType, nil)
	if err != nil {
		return nil, fmt.Errorf("clusters: %w", err)
	}
	var byEds []string
	for _, body := range clusters {
		c := &cluster.Cluster{}
		if err := body.UnmarshalTo(c); err != nil {
			return nil, err
		}
		if c.GetType() == cluster.Cluster_EDS {
			name := c.Name
			if service := c.GetEdsClusterConfig().GetServiceName(); service != "" {
				name = service
			}
			byEds = append(byEds, name)
		}
	}
	sort.Strings(byEds)
	var endpoints, routes []*anypb.Any
	if len(byEds) > 0 {
		if endpoints, err = asks.ask(v3.EndpointType, byEds); err != nil {
			return nil, fmt.Errorf("endpoints: %w", err)
		}
	}
	listeners, err := asks.ask(v3.ListenerType, nil)
	if err != nil {
		return nil, fmt.Errorf("listeners: %w", err)
	}
	var parsed []*listener.Listener
	for _, body := range listeners {
		l := &listener.Listener{}
		if err := body.UnmarshalTo(l); err != nil {
			return nil, err
		}
		parsed = append(parsed, l)
	}
	names := map[string]bool{}
	var byRds []string
	for _, name := range xdstest.ExtractRoutesFromListeners(parsed) {
		if !names[name] {
			names[name] = true
			byRds = append(byRds, name)
		}
	}
	sort.Strings(byRds)
	if len(byRds) > 0 {
		if routes, err = asks.ask(v3.RouteType, byRds); err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
	}
	part := func(kind, field string, resources []*anypb.Any, wrap func(json.RawMessage) any) any {
		var list []any
		if err == nil {
			list, err = written(resources, wrap)
		}
		return map[string]any{"@type": "type.googleapis.com/envoy.admin.v3." + kind, field: list}
	}
	in := func(field string) func(json.RawMessage) any {
		return func(body json.RawMessage) any { return map[string]any{field: body} }
	}
	parts := []any{
		part("ClustersConfigDump", "dynamicActiveClusters", clusters, in("cluster")),
		part("ListenersConfigDump", "dynamicListeners", listeners, func(body json.RawMessage) any {
			return map[string]any{"activeState": map[string]any{"listener": body}}
		}),
		part("RoutesConfigDump", "dynamicRouteConfigs", routes, in("routeConfig")),
		part("EndpointsConfigDump", "dynamicEndpointConfigs", endpoints, in("endpointConfig")),
	}
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(map[string]any{"configs": parts}, "", " ")
}

func generate(t test.Failer, from, to, domain string) error {
	configs, objects, verdicts, err := read(filepath.Join(from, "input.yaml"), domain)
	if err != nil {
		return err
	}
	settings, err := os.ReadFile(filepath.Join(from, "mesh.yaml"))
	if err != nil {
		return err
	}
	meshConfig, err := mesh.ApplyMeshConfigDefaults(string(settings))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(from, "proxies.json"))
	if err != nil {
		return err
	}
	var proxies []proxy
	if err := json.Unmarshal(text, &proxies); err != nil {
		return err
	}
	said, err := json.MarshalIndent(verdicts, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, "validation.json"), said, 0o644); err != nil {
		return err
	}
	if configs, err = selected(configs, objects, meshConfig); err != nil {
		return err
	}
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
		Configs: configs, KubernetesObjects: objects, MeshConfig: meshConfig, DisableSecretAuthorization: true,
	})
	server.EnsureSynced(t)
	connection, err := grpc.NewClient("passthrough:///istiod", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<28)),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return server.BufListener.Dial() }))
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, p := range proxies {
		body, err := dump(connection, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.File, err)
		}
		if err := os.WriteFile(filepath.Join(to, p.File+".config_dump.json"), body, 0o644); err != nil {
			return err
		}
	}
	status, err := server.PushContext().StatusJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "push_status.json"), status, 0o644)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: generated INPUT OUTPUT [DOMAIN]"))
	}
	domain := ""
	if len(os.Args) > 3 {
		domain = os.Args[3]
	}
	entries, err := os.ReadDir(os.Args[1])
	if err != nil {
		fail(err)
	}
	// istiod keeps access logs of one mesh config for ever: each configuration has a process of its own.
	if only := os.Getenv("ONLY"); only == "" {
		for _, entry := range entries {
			again := exec.Command(os.Args[0], os.Args[1:]...)
			again.Env = append(os.Environ(), "ONLY="+entry.Name(), "PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false")
			again.Stderr = os.Stderr
			if err := again.Run(); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", entry.Name(), err)
			}
		}
		return
	}
	for _, entry := range entries {
		if entry.Name() != os.Getenv("ONLY") {
			continue
		}
		from, to := filepath.Join(os.Args[1], entry.Name()), filepath.Join(os.Args[2], entry.Name())
		if err := os.MkdirAll(to, 0o755); err != nil {
			fail(err)
		}
		said := filepath.Join(to, "istiod.log")
		os.Remove(said)
		options := log.DefaultOptions()
		options.OutputPaths = []string{said}
		if err := log.Configure(options); err != nil {
			fail(err)
		}
		var failed error
		if err := test.Wrap(func(t test.Failer) { failed = generate(t, from, to, domain) }); err != nil {
			failed = err
		}
		if failed != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", entry.Name(), failed)
			continue
		}
	}
}
