//! Kubernetes' protobuf bodies, read with the field numbers of the built-in kinds' schema. Answers are
//! always JSON: clients that send protobuf take it.

use super::failure::Failure;
use super::schema::{Schema, Struct, Type};
use base64::Engine;
use serde_json::{Map, Value, json};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may nest: the deepest built-in kind needs about 20.
const MAX_DEPTH: usize = 40;

/// Booleans that may be absent, so that `false` says something. All others are left out when false, as
/// clients leave them out in JSON.
const TELLING: &[&str] = &[
    "automountServiceAccountToken",
    "allowPrivilegeEscalation",
    "enableServiceLinks",
    "optional",
    "immutable",
    "runAsNonRoot",
    "readOnlyRootFilesystem",
    "privileged",
    "hostUsers",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "allocateLoadBalancerNodePorts",
    "controller",
    "blockOwnerDeletion",
    "ready",
    "serving",
    "terminating",
];
/// Likewise for numbers.
const COUNTS: &[&str] = &[
    "replicas",
    "gracePeriodSeconds",
    "terminationGracePeriodSeconds",
    "revisionHistoryLimit",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "minReadySeconds",
    "expirationSeconds",
    "defaultMode",
    "mode",
];

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Fields<'a>(&'a [u8]);

fn broken() -> Failure {
    Failure::bad_request("the protobuf body is damaged")
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Failure> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn cut(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        if length > self.0.len() {
            return Err(broken());
        }
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        Ok(head)
    }

    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| broken())?;
        let little = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(little(self.cut(8)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| broken())?;
                Wire::Bytes(self.cut(length)?)
            }
            5 => Wire::Number(little(self.cut(4)?)),
            _ => return Err(broken()),
        };
        Ok(Some((number, wire)))
    }
}

/// Reads a body: the envelope names the kind, the schema its fields.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Value, Failure> {
    let mut envelope = Fields(body.strip_prefix(MAGIC).ok_or_else(broken)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = envelope.next()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Fields(meta);
                while let Some((number, wire)) = meta.next()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Wire::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let ty = match kind.as_str() {
        "DeleteOptions" => Type::Named("apis.meta.v1.DeleteOptions".into()),
        _ => schema.kind(group, version, &kind),
    };
    let Some(fields) = named(schema, &ty).filter(|s| !s.open) else {
        let what = format!("{api_version} {kind} is not read in protobuf here: send it as JSON");
        return Err(Failure::new(415, "UnsupportedMediaType", what));
    };
    let mut object = Map::new();
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(kind));
    message(schema, fields, 0, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn named<'s>(schema: &'s Schema, ty: &Type) -> Option<&'s Struct> {
    match ty {
        Type::Named(name) => schema.named(name),
        _ => None,
    }
}

/// Reads a message's fields into `out`. `outer` is not 0 inside an embedded message.
fn message(
    schema: &Schema,
    fields: &Struct,
    outer: u32,
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        return Err(broken());
    }
    let mut all = Fields(bytes);
    while let Some((number, wire)) = all.next()? {
        let path = if outer == 0 { (number, 0) } else { (outer, number) };
        let Some(name) = fields.numbers.get(&path) else {
            // An embedded message, whose fields count as this one's; or a field that is not known.
            if let Wire::Bytes(inner) = wire
                && outer == 0
                && fields.numbers.keys().any(|(o, i)| *o == number && *i != 0)
            {
                message(schema, fields, number, inner, out, depth + 1)?;
            }
            continue;
        };
        let ty = schema.field(fields, name);
        match ty {
            Type::Atomic(item) | Type::Set(item) | Type::Keyed(_, item) => {
                let value = value(schema, item, wire, depth)?;
                if let Value::Array(list) = out.entry(name.clone()).or_insert_with(|| json!([])) {
                    list.push(value);
                }
            }
            Type::Map(item) | Type::AtomicMap(item) => {
                let Wire::Bytes(entry) = wire else { return Err(broken()) };
                let (mut key, mut held) = (String::new(), empty(item));
                let mut entry = Fields(entry);
                while let Some((number, wire)) = entry.next()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                        (2, wire) => held = value(schema, item, wire, depth)?,
                        _ => {}
                    }
                }
                if let Value::Object(map) = out.entry(name.clone()).or_insert_with(|| json!({})) {
                    map.insert(key, held);
                }
            }
            _ => {
                let value = value(schema, ty, wire, depth)?;
                let bare = value.is_null()
                    || value == json!("")
                    || value == json!(false) && !TELLING.contains(&name.as_str())
                    || value == json!(0) && *ty == Type::Number && !COUNTS.contains(&name.as_str());
                if !bare {
                    out.insert(name.clone(), value);
                }
            }
        }
    }
    Ok(())
}

fn empty(ty: &Type) -> Value {
    match ty {
        Type::Text | Type::Bytes => json!(""),
        _ => Value::Null,
    }
}

fn value(schema: &Schema, ty: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, Failure> {
    Ok(match (ty, wire) {
        (Type::Text, Wire::Bytes(text)) => json!(std::str::from_utf8(text).map_err(|_| broken())?),
        (Type::Bytes, Wire::Bytes(bytes)) => json!(base64::engine::general_purpose::STANDARD.encode(bytes)),
        (Type::Number, Wire::Number(n)) => json!(n.cast_signed()),
        (Type::Boolean, Wire::Number(n)) => json!(n != 0),
        (Type::Quantity, Wire::Bytes(inner)) => parts(inner)?.1,
        (Type::IntOrText, Wire::Bytes(inner)) => int_or_text(inner)?,
        (Type::Time, Wire::Bytes(inner)) => time(inner, "%Y-%m-%dT%H:%M:%SZ")?,
        (Type::MicroTime, Wire::Bytes(inner)) => time(inner, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        // JSON inside protobuf.
        (Type::Any, Wire::Bytes(inner)) => match parts(inner)?.1 {
            Value::String(text) => serde_json::from_str(&text).map_err(|_| broken())?,
            _ => Value::Null,
        },
        (Type::Named(_), Wire::Bytes(inner)) => {
            let Some(fields) = named(schema, ty) else { return Ok(Value::Null) };
            let mut map = Map::new();
            message(schema, fields, 0, inner, &mut map, depth + 1)?;
            Value::Object(map)
        }
        _ => return Err(broken()),
    })
}

/// The last number and the last string of a message of one field.
fn parts(inner: &[u8]) -> Result<(Option<i64>, Value), Failure> {
    let (mut number, mut text) = (None, Value::Null);
    let mut fields = Fields(inner);
    while let Some((_, wire)) = fields.next()? {
        match wire {
            Wire::Number(n) => number = Some(n.cast_signed()),
            Wire::Bytes(bytes) => text = json!(std::str::from_utf8(bytes).map_err(|_| broken())?),
        }
    }
    Ok((number, text))
}

/// type = 1 (0 number, 1 string), intVal = 2, strVal = 3.
fn int_or_text(inner: &[u8]) -> Result<Value, Failure> {
    let (mut kind, mut number, mut text) = (0, 0, String::new());
    let mut fields = Fields(inner);
    while let Some((field, wire)) = fields.next()? {
        match (field, wire) {
            (1, Wire::Number(n)) => kind = n,
            (2, Wire::Number(n)) => number = n.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
            _ => {}
        }
    }
    Ok(if kind == 0 { json!(number) } else { json!(text) })
}

/// seconds = 1, nanos = 2; nothing is no time.
fn time(inner: &[u8], format: &str) -> Result<Value, Failure> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut fields = Fields(inner);
    while let Some((field, wire)) = fields.next()? {
        match (field, wire) {
            (1, Wire::Number(n)) => seconds = Some(n.cast_signed()),
            (2, Wire::Number(n)) => nanos = n.cast_signed(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos).map_err(|_| broken())?;
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| broken())?;
    Ok(json!(time.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_namespace() {
        // name = 1, creationTimestamp = 8 (empty), labels = 11
        let label = [field(1, b"istio-injection"), field(2, b"enabled")].concat();
        let meta = [field(1, b"demo"), field(2, b""), field(8, b""), field(11, &label)].concat();
        let raw = [field(1, &meta), field(2, b""), field(3, &field(1, b""))].concat();
        let wanted = json!({ "apiVersion": "v1", "kind": "Namespace", "spec": {}, "status": {},
            "metadata": { "name": "demo", "labels": { "istio-injection": "enabled" } } });
        assert_eq!(decode(Schema::builtin(), &body("v1", "Namespace", &raw)).unwrap(), wanted);
    }

    #[test]
    fn bytes_ports_and_embedded_messages() {
        let entry = [field(1, b"k"), field(2, b"\x00\xFF")].concat();
        let secret = decode(Schema::builtin(), &body("v1", "Secret", &field(2, &entry))).unwrap();
        assert_eq!(secret["data"], json!({ "k": "AP8=" }));
        // spec = 2, ports = 1: port = 3, targetPort = 4 { type 1, strVal "web" }
        let target = [vec![0x08, 1], field(3, b"web")].concat();
        let port = [vec![0x18, 80], field(4, &target)].concat();
        let service = decode(Schema::builtin(), &body("v1", "Service", &field(2, &field(1, &port)))).unwrap();
        assert_eq!(service["spec"]["ports"], json!([{ "port": 80, "targetPort": "web" }]));
        // a volume (spec 2, volumes 1): name 1, the embedded source 2 with secret 6 { secretName 1 }
        let volume = [field(1, b"v"), field(2, &field(6, &field(1, b"s")))].concat();
        let pod = decode(Schema::builtin(), &body("v1", "Pod", &field(2, &field(1, &volume)))).unwrap();
        assert_eq!(pod["spec"]["volumes"], json!([{ "name": "v", "secret": { "secretName": "s" } }]));
    }

    #[test]
    fn damage_is_an_error() {
        let schema = Schema::builtin();
        let good = body("v1", "Namespace", &field(1, &field(1, b"demo")));
        for end in 0..good.len() {
            // Cut anywhere, it is an error or an object; never a panic.
            let _ = decode(schema, &good[..end]);
        }
        assert_eq!(decode(schema, b"{}").unwrap_err().code, 400);
        assert_eq!(decode(schema, &body("example.com/v1", "Thing", b"")).unwrap_err().code, 415);
    }
}
