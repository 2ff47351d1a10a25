#!/usr/bin/env python3
"""Writes proto/**/*.proto: Envoy's API reduced to what proto/roots.txt reaches.

    trim.py DESCRIPTORS.bin [DUMP.json ...]

DESCRIPTORS.bin is a google.protobuf.FileDescriptorSet of Envoy's API. How to make one is in README.md
beside this file. DUMPs are Envoy config dumps (JSON): whatever message or field occurs in one is kept too.

Only facts are taken over: names, numbers, types. One file a package, so that type URLs match.
Deprecated fields stay when their type is simple or kept anyway. CEL syntax trees are left out.
"""
import json
import pathlib
import sys
from collections import defaultdict

from google.protobuf import descriptor_pb2

HERE = pathlib.Path(__file__).parent
KNOWN = {
    "any": ["Any"],
    "duration": ["Duration"],
    "empty": ["Empty"],
    "struct": ["Struct", "Value", "ListValue", "NullValue"],
    "timestamp": ["Timestamp"],
    "wrappers": [
        f"{kind}Value" for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
    ],
}
KNOWN = {f"google.protobuf.{name}": f"google/protobuf/{file}.proto" for file, names in KNOWN.items() for name in names}
LEFT_OUT = ("google.api.expr.", "cel.expr.", "google.protobuf.")
SCALAR = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool",
          9: "string", 12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64"}
MESSAGE, ENUM, REPEATED = 11, 14, 3

messages, enums, package_of = {}, {}, {}


def collect(package, prefix, message):
    name = f"{prefix}.{message.name}"
    messages[name], package_of[name] = message, package
    for nested in message.nested_type:
        collect(package, name, nested)
    for enum in message.enum_type:
        enums[f"{name}.{enum.name}"], package_of[f"{name}.{enum.name}"] = enum, package


def target(field):
    return field.type_name[1:]


def closure(names):
    kept, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name in kept or name.startswith(LEFT_OUT):
            continue
        kept.add(name)
        todo += [target(f) for f in messages[name].field if f.type == MESSAGE and not f.options.deprecated]
    return kept


def seen_in(value, name, seen):
    """Adds every message that occurs in proto3 JSON `value` of type `name`."""
    if name == "google.protobuf.Any":
        name = value["@type"].split("/")[-1]
    if name in KNOWN:
        return
    seen.add(name)
    fields = {key: f for f in messages[name].field for key in (f.name, f.json_name)}
    for key, inner in value.items():
        if key == "@type":
            continue
        field = fields[key]
        if field.type != MESSAGE:
            continue
        inner_name = target(field)
        entry = messages[inner_name]
        if entry.options.map_entry:
            if entry.field[1].type == MESSAGE:
                for item in inner.values():
                    seen_in(item, target(entry.field[1]), seen)
        else:
            for item in inner if field.label == REPEATED else [inner]:
                seen_in(item, inner_name, seen)


def resources(dump):
    for part in json.load(open(dump))["configs"]:
        for key, inner in (("dynamicActiveClusters", "cluster"), ("dynamicRouteConfigs", "routeConfig"),
                           ("dynamicEndpointConfigs", "endpointConfig")):
            yield from (entry[inner] for entry in part.get(key, []))
        yield from (entry["activeState"]["listener"] for entry in part.get("dynamicListeners", []))


def write_enum(out, enum, indent):
    out.append(f"{indent}enum {enum.name} {{")
    if enum.options.allow_alias:
        out.append(f"{indent}  option allow_alias = true;")
    out += [f"{indent}  {value.name} = {value.number};" for value in enum.value]
    out.append(f"{indent}}}")


def write_message(out, name, kept, imports, indent=""):
    message = messages[name]
    out.append(f"{indent}message {message.name} {{")
    deeper = indent + "  "
    for enum in message.enum_type:
        if f"{name}.{enum.name}" in kept:
            write_enum(out, enum, deeper)
    for nested in message.nested_type:
        inner = f"{name}.{nested.name}"
        if not nested.options.map_entry and any(k == inner or k.startswith(inner + ".") for k in kept):
            write_message(out, inner, kept, imports, deeper)
    if name in kept:
        write_fields(out, name, kept, imports, deeper)
    out.append(f"{indent}}}")


def fields_kept(name, kept):
    for field in messages[name].field:
        if field.type == MESSAGE:
            inner = target(field)
            entry = messages.get(inner)
            if entry is not None and entry.options.map_entry:
                value = entry.field[1]
                inner = target(value) if value.type == MESSAGE else "google.protobuf.Any"
            if inner not in KNOWN and inner not in kept:
                continue
        yield field


def type_text(field, imports):
    if field.type not in (MESSAGE, ENUM):
        return SCALAR[field.type]
    imports.add(target(field))
    return "." + target(field)


def write_fields(out, name, kept, imports, indent):
    message, open_oneof = messages[name], None
    for field in fields_kept(name, kept):
        optional = field.proto3_optional
        oneof = field.oneof_index if field.HasField("oneof_index") and not optional else None
        if oneof != open_oneof:
            if open_oneof is not None:
                out.append(f"{indent}}}")
            if oneof is not None:
                out.append(f"{indent}oneof {message.oneof_decl[oneof].name} {{")
            open_oneof = oneof
        entry = messages.get(target(field)) if field.type == MESSAGE else None
        if entry is not None and entry.options.map_entry:
            kind = f"map<{type_text(entry.field[0], imports)}, {type_text(entry.field[1], imports)}>"
        else:
            kind = type_text(field, imports)
            kind = ("repeated " if field.label == REPEATED else "optional " if optional else "") + kind
        extra = " [packed = false]" if field.options.HasField("packed") and not field.options.packed else ""
        deeper = indent + "  " if oneof is not None else indent
        out.append(f"{deeper}{kind} {field.name} = {field.number}{extra};")
    if open_oneof is not None:
        out.append(f"{indent}}}")


def main():
    files = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file
    top = defaultdict(list)
    for file in files:
        for message in file.message_type:
            collect(file.package, file.package, message)
            top[file.package].append(f"{file.package}.{message.name}")
        for enum in file.enum_type:
            name = f"{file.package}.{enum.name}"
            enums[name], package_of[name] = enum, file.package
            top[file.package].append(name)
    roots = {line.strip() for line in open(HERE / "roots.txt") if line.strip() and not line.startswith("#")}
    for dump in sys.argv[2:]:
        for resource in resources(dump):
            seen_in(resource, "google.protobuf.Any", roots)
    kept = closure(roots)
    kept |= {target(f) for name in kept for f in fields_kept(name, kept) if f.type == ENUM}
    kept |= {target(messages[target(f)].field[1]) for name in kept if name in messages for f in fields_kept(name, kept)
             if f.type == MESSAGE and target(f) in messages and messages[target(f)].options.map_entry
             and messages[target(f)].field[1].type == ENUM}
    kept = {n for n in kept if n in enums or not messages[n].options.map_entry}
    for old in HERE.rglob("*.proto"):
        old.unlink()
    for package in sorted({package_of[name] for name in kept}):
        body, imports = [], set()
        for name in sorted(top[package]):
            if name in enums and name in kept:
                write_enum(body, enums[name], "")
            elif name in messages and any(k == name or k.startswith(name + ".") for k in kept):
                write_message(body, name, kept, imports)
        paths = {KNOWN.get(n) or path_of(package_of[n]) for n in imports} - {path_of(package)}
        head = ['syntax = "proto3";', f"package {package};", *(f'import "{path}";' for path in sorted(paths))]
        path = HERE / path_of(package)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(head + body) + "\n")


def path_of(package):
    return package.replace(".", "/") + ".proto"


if __name__ == "__main__":
    main()
