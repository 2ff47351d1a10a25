//! Pods' networks: who reaches whom, by which way.

use egress_scn::lab::capture::{CaptureRules, Included};
use egress_scn::lab::fabric::{DNS_ADDRESS, Fabric, ServicePort};
use egress_scn::lab::netfilter::{Act, Chain, Hook, Match, Protocol, Rule};
use egress_scn::lab::pod_files::PodFile;
use egress_scn::lab::pod_root::View;
use egress_scn::lab::process::ProcessSpec;
use egress_scn::lab::rights::Rights;
use egress_scn::lab::sandbox::{Capture, Sandbox, SandboxSpec};
use nix::sys::socket::{getsockopt, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

pub fn pod(number: u8) -> SandboxSpec {
    let name = format!("pod-{number}");
    let ip = Ipv4Addr::new(10, 244, 0, number);
    let files = PodFile::names("default", &name, ip, DNS_ADDRESS);
    // This program plays applications.
    let (view, rights) = (View::Container(vec![std::env::current_exe().unwrap()]), Rights::Container);
    SandboxSpec { name: format!("default/{name}"), hostname: name, ip, capture: Capture::None, files, view, rights }
}

/// Runs a shell command in the pod: exit code, standard output, standard error.
pub async fn shell(pod: &Sandbox, script: &str) -> (i32, String, String) {
    let argv = ["sh", "-c", script].map(String::from).to_vec();
    let env = vec![("PATH".to_string(), std::env::var("PATH").unwrap())];
    let mut process = pod.spawn(ProcessSpec { argv, env, ..ProcessSpec::default() }).await.unwrap();
    let (mut stdout, mut stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    let read = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    read.0.and(read.1).unwrap();
    (process.wait().await.unwrap(), out, err)
}

pub async fn a_pod_has_its_own_name_files_and_loopback() {
    let fabric = Fabric::new().await.unwrap();
    let mut spec = pod(5);
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    spec.files.push(PodFile::text(token, "a token"));
    spec.files.push(PodFile::host("/etc/config-of-the-lab/folder", "/bin"));
    // At the top, beside the host's folders, and beneath one of the host's.
    spec.files.push(PodFile::host("/data", "/bin"));
    spec.files.push(PodFile::text("/usr/share/of-the-lab/text", "a text"));
    spec.files.extend(PodFile::trusted("not a certificate"));
    let one = fabric.sandbox(spec).await.unwrap();
    let two = fabric.sandbox(pod(6)).await.unwrap();

    assert_eq!(shell(&one, "hostname").await, (0, "pod-5\n".into(), "".into()));
    let resolv =
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
    assert_eq!(shell(&one, "cat /etc/resolv.conf").await.1, resolv);
    assert!(shell(&one, "cat /etc/hosts").await.1.ends_with("10.244.0.5\tpod-5\n"));
    assert_eq!(shell(&one, "cat /etc/nsswitch.conf").await.1, "passwd: files\ngroup: files\nhosts: files dns\n");
    assert_eq!(shell(&one, &format!("cat {token}")).await.1, "a token");
    assert_eq!(shell(&one, "test -x /etc/config-of-the-lab/folder/sh && test -e /etc/passwd").await.0, 0);
    assert_eq!(shell(&one, "cat /etc/ssl/certs/ca-certificates.crt").await.1, "not a certificate");
    assert_eq!(
        shell(&one, "cat /usr/share/of-the-lab/text && test -x /data/sh").await,
        (0, "a text".into(), "".into())
    );
    assert_eq!(shell(&two, &format!("test -e /data || test -e {token} || test -e /etc/config-of-the-lab")).await.0, 1);
    assert_ne!(shell(&two, "cat /etc/ssl/certs/ca-certificates.crt").await.1, "not a certificate");
    assert!(!std::path::Path::new("/etc/config-of-the-lab").exists());
    // Only IPv4, and port 80 without rights.
    assert_eq!(shell(&one, "cat /proc/net/if_inet6").await.1, "");

    let listener = one.listen_tcp(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).await.unwrap();
    let (connected, accepted) = tokio::join!(one.connect(80), listener.accept());
    assert_eq!(connected.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    assert_eq!(two.connect(80).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

/// What runs in a pod has the rights of whoever started the lab, and yet harms none of their files.
pub async fn a_pod_cannot_write_the_hosts_files() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (given, kept) = (folder.path().join("given"), folder.path().join("kept"));
    std::fs::create_dir(&given).unwrap();
    std::fs::write(&kept, "kept").unwrap();
    let fabric = Fabric::new().await.unwrap();
    let mut spec = pod(5);
    spec.files.push(PodFile::host(&given, &given));
    // Who stands outside sees all of the machine's files.
    spec.view = View::Host;
    let pod = fabric.sandbox(spec).await.unwrap();
    for command in ["rm -f", "touch", "chmod 777"] {
        let (code, _, said) = shell(&pod, &format!("{command} {}", kept.display())).await;
        assert!(code != 0 && said.contains("Read-only file system"), "{command}: {code} {said}");
    }
    assert_ne!(shell(&pod, "echo 1 > /proc/sys/net/ipv4/ip_forward").await.0, 0);
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
    let written = given.join("file");
    let script = format!("touch {} && file=$(mktemp) && rm $file && echo > /dev/null", written.display());
    assert_eq!(shell(&pod, &script).await, (0, "".into(), "".into()));
    assert!(written.exists());
}

/// A host as Ubuntu and Fedora have it: resolv.conf leads into the folder of systemd's resolver; no nsswitch.conf.
pub async fn the_hosts_resolver_is_out_of_sight() {
    let memory =
        |at: &str| nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>);
    // In the lab's own mounts, which end with this test.
    memory("/run").unwrap();
    memory("/etc").unwrap();
    std::fs::create_dir_all("/run/systemd/resolve").unwrap();
    std::fs::write("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n").unwrap();
    std::fs::write("/run/systemd/resolve/io.systemd.Resolve", "").unwrap();
    std::fs::write("/etc/hosts", "192.0.2.1 of-the-host\n").unwrap();
    std::os::unix::fs::symlink("../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf").unwrap();
    let fabric = Fabric::new().await.unwrap();
    let contained = fabric.sandbox(pod(7)).await.unwrap();
    assert!(shell(&contained, "cat /etc/resolv.conf").await.1.contains("nameserver 10.96.0.10"));
    assert_eq!(shell(&contained, "ls /run").await.1, "");
    let at_host = |number| SandboxSpec { view: View::Host, ..pod(number) };
    let one = fabric.sandbox(at_host(5)).await.unwrap();
    assert!(shell(&one, "cat /etc/resolv.conf").await.1.contains("nameserver 10.96.0.10"));
    assert_eq!(shell(&one, "cat /etc/nsswitch.conf").await.1, "passwd: files\ngroup: files\nhosts: files dns\n");
    assert!(!shell(&one, "cat /etc/hosts").await.1.contains("of-the-host"));
    assert_eq!(shell(&one, "ls /run/systemd/resolve").await.1, "stub-resolv.conf\n");
    assert_eq!(std::fs::read_to_string("/etc/resolv.conf").unwrap(), "nameserver 127.0.0.53\n");
    // A link that leads nowhere.
    std::fs::remove_file("/run/systemd/resolve/stub-resolv.conf").unwrap();
    let two = fabric.sandbox(at_host(6)).await.unwrap();
    assert!(shell(&two, "cat /etc/resolv.conf").await.1.contains("nameserver 10.96.0.10"));
}

/// A pod has the host's programs, and nothing else of the host: no user's files, no secrets, no devices, no other
/// processes' insides, and no way to get at them.
pub async fn a_pod_sees_no_file_it_does_not_need() {
    // Where this user may not write, there is nothing of this user's either.
    let folders: Vec<_> =
        ["/root", "/tmp", "/dev/shm", "/var/tmp"].into_iter().filter_map(|at| tempfile::tempdir_in(at).ok()).collect();
    assert!(folders.len() >= 2);
    let all: Vec<_> = folders.iter().map(|folder| folder.path().join("secret")).collect();
    all.iter().for_each(|secret| std::fs::write(secret, "a secret").unwrap());
    let fabric = Fabric::new().await.unwrap();
    let pod = fabric.sandbox(pod(5)).await.unwrap();
    for secret in &all {
        assert_eq!(shell(&pod, &format!("test -e {}", secret.display())).await.0, 1, "{}", secret.display());
    }
    for absent in ["/etc/shadow", "/etc/ssh", "/.host", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/boot"] {
        assert_eq!(shell(&pod, &format!("test -e {absent}")).await.0, 1, "{absent}");
    }
    for empty in ["/root", "/home", "/mnt", "/run", "/var/lib"] {
        assert_eq!(shell(&pod, &format!("ls -A {empty}")).await, (0, "".into(), "".into()), "{empty}");
    }
    // The lab's server (here: this test) holds the host's root, its network and its files.
    let server = std::process::id();
    for way in ["root/etc/shadow", "cwd/", "environ", "fd/0", "ns/net", "ns/mnt"] {
        let read = shell(&pod, &format!("cat /proc/{server}/{way} || ls /proc/{server}/{way}")).await;
        assert_ne!(read.0, 0, "{way}: {read:?}");
    }
    for way in [
        format!("nsenter --net=/proc/{server}/ns/net true"),
        "mount -t tmpfs none /mnt".to_string(),
        "mount -o remount,rw,bind /usr".to_string(),
        "umount /usr".to_string(),
        "mknod /tmp/disk b 254 0".to_string(),
        "chroot / true".to_string(),
        "unshare --mount true".to_string(),
        "touch /usr/of-a-pod".to_string(),
        "echo 1 > /proc/sys/kernel/panic".to_string(),
        "echo h > /proc/sysrq-trigger".to_string(),
    ] {
        let tried = shell(&pod, &way).await;
        assert_ne!(tried.0, 0, "{way}: {tried:?}");
    }
    // What containers have, it has.
    let usual = "echo > /dev/null && head -c1 /dev/urandom | wc -c && touch /tmp/a /dev/shm/b /new && echo x > /etc/new && ls /proc/self/fd/1";
    assert_eq!(shell(&pod, usual).await, (0, "1\n/proc/self/fd/1\n".into(), "".into()));
}

pub async fn pods_reach_each_other_and_nothing_else() {
    let fabric = Fabric::new().await.unwrap();
    let (one, two) = (fabric.sandbox(pod(5)).await.unwrap(), fabric.sandbox(pod(6)).await.unwrap());
    let listener = two.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8080)).await.unwrap();
    let start = Instant::now();
    let (said, accepted) = tokio::join!(try_connect(&one, "10.244.0.6", 8080), listener.accept());
    assert_eq!(said, "connected");
    assert_eq!(accepted.unwrap().1.ip(), one.ip());
    // A lost first packet would cost a second.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());

    assert_eq!(try_connect(&one, "10.244.0.6", 8081).await, "refused");
    // Addresses no pod and no Service has, at once.
    assert_eq!(try_connect(&one, "10.244.9.9", 80).await, "no route");
    assert_eq!(try_connect(&one, "10.96.7.7", 80).await, "no route");
    // The internet is the fabric itself; nobody listens yet.
    assert_eq!(try_connect(&one, "203.0.113.10", 443).await, "refused");
    let site = fabric.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 443)).await.unwrap();
    let (said, accepted) = tokio::join!(try_connect(&one, "203.0.113.10", 443), site.accept());
    let (connection, from) = accepted.unwrap();
    assert_eq!((said.as_str(), from.ip()), ("connected", one.ip().into()));
    assert_eq!(connection.local_addr().unwrap(), "203.0.113.10:443".parse().unwrap());
    // The host's own loopback services are not the pod's.
    let of_host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = of_host.local_addr().unwrap().port();
    assert_eq!(one.connect(port).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    // A new pod may have an old one's address.
    drop(two);
    let two = fabric.sandbox(pod(6)).await.unwrap();
    let listener = two.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8080)).await.unwrap();
    let (said, accepted) = tokio::join!(try_connect(&one, "10.244.0.6", 8080), listener.accept());
    assert_eq!((said.as_str(), accepted.is_ok()), ("connected", true));
}

pub async fn services_lead_to_pods_in_turn() {
    let fabric = Fabric::new().await.unwrap();
    let client = fabric.sandbox(pod(5)).await.unwrap();
    let address = Ipv4Addr::new(10, 96, 0, 77);
    let (mut listeners, mut pods) = (Vec::new(), Vec::new());
    for number in [6, 7] {
        let server = fabric.sandbox(pod(number)).await.unwrap();
        listeners.push(server.listen_tcp(SocketAddrV4::new(server.ip(), 8080)).await.unwrap());
        pods.push(server);
    }
    let service = |endpoints| ServicePort { protocol: Protocol::Tcp, address, port: 80, endpoints };
    let endpoints: Vec<_> = pods.iter().map(|pod| SocketAddrV4::new(pod.ip(), 8080)).collect();
    fabric.route_services(vec![service(endpoints)]).await.unwrap();
    for _ in 0..4 {
        assert_eq!(try_connect(&client, "10.96.0.77", 80).await, "connected");
    }
    for listener in &listeners {
        for _ in 0..2 {
            // The sender's own address, as kube-proxy keeps it.
            assert_eq!(listener.accept().await.unwrap().1.ip(), client.ip());
        }
    }
    fabric.route_services(vec![service(vec![])]).await.unwrap();
    assert_eq!(try_connect(&client, "10.96.0.77", 80).await, "refused");
    assert_eq!(try_connect(&client, "10.96.0.77", 81).await, "no route");
    fabric.route_services(vec![]).await.unwrap();
    assert_eq!(try_connect(&client, "10.96.0.77", 80).await, "no route");
}

pub async fn capture_takes_outbound_tcp() {
    let fabric = Fabric::new().await.unwrap();
    let pod =
        fabric.sandbox(SandboxSpec { capture: Capture::Outbound, rights: Rights::Proxy, ..pod(5) }).await.unwrap();
    let sidecar = pod.listen_tcp(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15001)).await.unwrap();
    let (said, accepted) = tokio::join!(try_connect(&pod, "203.0.113.10", 443), sidecar.accept());
    assert_eq!(said, "connected");
    let original = getsockopt(&accepted.unwrap().0, sockopt::OriginalDst).unwrap();
    assert_eq!(u32::from_be(original.sin_addr.s_addr), u32::from(Ipv4Addr::new(203, 0, 113, 10)));
    assert_eq!(u16::from_be(original.sin_port), 443);
    // What stays in the pod stays as it is, to its loopback and to its own address.
    let own = pod.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 9000)).await.unwrap();
    for address in ["127.0.0.1", "10.244.0.5"] {
        let (said, accepted) = tokio::join!(try_connect(&pod, address, 9000), own.accept());
        assert_eq!((said.as_str(), accepted.is_ok()), ("connected", true));
    }
    // The sidecar's own connections, by their mark, reach the outside.
    let site = fabric.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 443)).await.unwrap();
    let (said, accepted) = tokio::join!(connect_in(&pod, "203.0.113.10:443 1337"), site.accept());
    assert_eq!((said.as_str(), accepted.is_ok()), ("connected", true));
}

pub async fn a_hundred_pods() {
    let fabric = Fabric::new().await.unwrap();
    let start = Instant::now();
    let pods = futures::future::join_all((10..110).map(|number| fabric.sandbox(pod(number)))).await;
    let made = start.elapsed();
    let pods: Vec<Sandbox> = pods.into_iter().map(Result::unwrap).collect();
    let last = &pods[99];
    let listener = last.listen_tcp(SocketAddrV4::new(last.ip(), 80)).await.unwrap();
    let (said, accepted) = tokio::join!(try_connect(&pods[0], "10.244.0.109", 80), listener.accept());
    assert_eq!((said.as_str(), accepted.is_ok()), ("connected", true));
    println!("a hundred pods in {made:?}");
    let start = Instant::now();
    fabric.sandbox(pod(120)).await.unwrap();
    println!("one more in {:?}", start.elapsed());
}

pub async fn capture_follows_istios_rules() {
    let fabric = Fabric::new().await.unwrap();
    let rules = CaptureRules {
        inbound_ports: Some(Included::All),
        outbound_ranges_excluded: vec![(Ipv4Addr::new(198, 18, 0, 0), 15)],
        outbound_ports_excluded: vec![444],
        ..CaptureRules::default()
    };
    let pod =
        fabric.sandbox(SandboxSpec { capture: Capture::Rules(rules), rights: Rights::Proxy, ..pod(5) }).await.unwrap();
    let client = fabric.sandbox(crate::network::pod(6)).await.unwrap();
    let everywhere = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let outbound = pod.listen_tcp(everywhere(15001)).await.unwrap();
    let inbound = pod.listen_tcp(everywhere(15006)).await.unwrap();
    let application = pod.listen_tcp(everywhere(8080)).await.unwrap();
    let health = pod.listen_tcp(everywhere(15021)).await.unwrap();
    let site = fabric.listen_tcp(everywhere(443)).await.unwrap();
    let site_444 = fabric.listen_tcp(everywhere(444)).await.unwrap();
    // Who connects (with which further argument) to what, and whose listener takes it.
    for (from, to, takes, what) in [
        (&pod, "203.0.113.10:443", &outbound, "outbound"),
        (&pod, "198.18.0.9:443", &site, "an excluded range"),
        (&pod, "203.0.113.10:444", &site_444, "an excluded port"),
        (&pod, "203.0.113.10:443 1337", &site, "the sidecar's own"),
        (&client, "10.244.0.5:8080", &inbound, "inbound"),
        (&client, "10.244.0.5:15021", &health, "the sidecar's health port"),
        (&pod, "10.244.0.5:8080", &application, "the application to itself"),
        (&pod, "127.0.0.1:8080", &application, "loopback"),
        (&pod, "10.244.0.5:8080 1337", &inbound, "the sidecar chose its own pod"),
        (&pod, "10.244.0.5:8080 1337 127.0.0.6", &application, "the sidecar to its application"),
    ] {
        let (said, accepted) = tokio::join!(connect_in(from, to), async {
            tokio::time::timeout(Duration::from_secs(5), takes.accept())
                .await
                .unwrap_or_else(|_| panic!("{what}: {to}"))
        });
        assert_eq!((said.as_str(), accepted.is_ok()), ("connected", true), "{what}");
    }
}

/// What a process in the pod meets that connects there.
async fn try_connect(pod: &Sandbox, address: &str, port: u16) -> String {
    connect_in(pod, &format!("{address}:{port}")).await
}

async fn connect_in(pod: &Sandbox, arguments: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let (code, out, err) = shell(pod, &format!("{} --connect {arguments}", this.display())).await;
    assert_eq!((code, err.as_str()), (0, ""));
    out.trim().to_string()
}

/// Plays an application, or with a mark a sidecar, that connects to an address, from a source of its own if given.
pub fn connect(address: &str, mark: Option<&str>, source: Option<&str>) -> std::process::ExitCode {
    let connect = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        if let Some(mark) = mark {
            nix::sys::socket::setsockopt(&socket, sockopt::Mark, &mark.parse().unwrap())?;
        }
        if let Some(source) = source {
            socket.bind(SocketAddrV4::new(source.parse().unwrap(), 0).into())?;
        }
        socket.connect(address.parse().unwrap()).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(connect) {
        Ok(_) => println!("connected"),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => println!("refused"),
        Err(error) if error.kind() == std::io::ErrorKind::HostUnreachable => println!("no route"),
        Err(error) => println!("{error}"),
    }
    std::process::ExitCode::SUCCESS
}

/// A drop is silent, a reset is heard, and what stands goes on where that is allowed.
pub async fn filters_keep_packets_from_where_they_may_not_go() {
    let fabric = Fabric::new().await.unwrap();
    let (one, two) = (fabric.sandbox(pod(5)).await.unwrap(), fabric.sandbox(pod(6)).await.unwrap());
    let listener = two.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8080)).await.unwrap();
    let site = fabric.listen_tcp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 443)).await.unwrap();
    let rule = |when: &[Match], then| Rule { when: when.to_vec(), then };
    let to_two = [Match::Protocol(Protocol::Tcp), Match::Destination(two.ip(), 32)];
    let chain = |rules| vec![Chain { name: "test", hook: Hook::Filter(5), rules }];
    let dropped = "timeout 0.3 bash -c 'exec 3<>/dev/tcp/10.244.0.6/8080'";
    assert_eq!(try_connect(&one, "10.244.0.6", 8080).await, "connected");
    drop(listener.accept().await.unwrap());
    fabric.set_filters(chain(vec![rule(&to_two, Act::Drop)])).await.unwrap();
    assert_eq!(shell(&one, dropped).await.0, 124, "silence");
    assert_eq!(try_connect(&one, "203.0.113.10", 443).await, "connected");
    drop(site.accept().await.unwrap());
    fabric.set_filters(chain(vec![rule(&to_two, Act::Reset)])).await.unwrap();
    assert_eq!(try_connect(&one, "10.244.0.6", 8080).await, "refused");
    // By way of a Service the pod is meant just so.
    let address = Ipv4Addr::new(10, 96, 0, 77);
    let endpoints = vec![SocketAddrV4::new(two.ip(), 8080)];
    fabric.route_services(vec![ServicePort { protocol: Protocol::Tcp, address, port: 80, endpoints }]).await.unwrap();
    assert_eq!(try_connect(&one, "10.96.0.77", 80).await, "refused");
    // Answers pass where only the asking is allowed.
    let ports = rule(&[to_two[0], to_two[1], Match::DestinationPorts(8000, 8081)], Act::Pass);
    let only = |from: Ipv4Addr| rule(&[Match::Source(from, 32)], Act::Drop);
    let standing = rule(&[Match::Standing], Act::Pass);
    fabric.set_filters(chain(vec![standing, ports, only(one.ip()), only(two.ip())])).await.unwrap();
    assert_eq!(try_connect(&one, "10.96.0.77", 80).await, "connected");
    assert_eq!(shell(&one, "timeout 0.3 bash -c 'exec 3<>/dev/tcp/203.0.113.10/443'").await.0, 124);
    fabric.set_filters(vec![]).await.unwrap();
    assert_eq!(try_connect(&one, "203.0.113.10", 443).await, "connected");
}
