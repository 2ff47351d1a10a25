//! Reads the description files into [`Schema`]. The files are embedded, so a fault in them is a fault of the
//! program: the tests read them, and reading them panics with the line that is wrong.

use super::*;

const FILES: &[(&str, &str)] = &[
    ("kinds.txt", include_str!("kinds.txt")),
    ("traffic.txt", include_str!("traffic.txt")),
    ("policies.txt", include_str!("policies.txt")),
];

/// Names that the files define, before types are resolved.
#[derive(Default)]
struct Names {
    messages: HashMap<&'static str, usize>,
    enums: HashMap<&'static str, usize>,
    rules: HashMap<&'static str, usize>,
    patterns: HashMap<&'static str, &'static str>,
}

pub(super) fn embedded() -> Schema {
    let mut names = Names::default();
    let mut schema = Schema { kinds: vec![], messages: vec![], enums: vec![], rules: vec![], status: 0 };
    for line in lines().filter(|line| !line.text.starts_with(' ')) {
        define(line, &mut names, &mut schema);
    }
    let mut current = 0;
    for line in lines() {
        if let Some(rest) = line.text.strip_prefix("message ") {
            let mut words = rest.split_whitespace();
            current = names.messages[line.word(words.next())];
            if let Some(rules) = words.next().and_then(|word| word.strip_prefix("rules=")) {
                schema.messages[current].rules = rule_list(rules, &names, line);
            }
        } else if line.text.starts_with("  ") {
            add_field(line, &names, &mut schema.messages[current]);
        } else if line.text.starts_with("kind ") {
            schema.kinds.push(kind(line, &names));
        }
    }
    schema.status = names.messages["Status"];
    schema
}

/// A line with its place, for the message when it is wrong.
#[derive(Clone, Copy)]
struct Line {
    file: &'static str,
    number: usize,
    text: &'static str,
}

impl Line {
    fn word(self, word: Option<&'static str>) -> &'static str {
        word.unwrap_or_else(|| self.wrong("a word is missing"))
    }

    fn wrong(self, why: &str) -> ! {
        panic!("{}:{}: {why}: {}", self.file, self.number, self.text)
    }
}

fn lines() -> impl Iterator<Item = Line> {
    FILES.iter().flat_map(|(file, text)| {
        text.lines()
            .enumerate()
            .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
            .map(|(index, text)| Line { file, number: index + 1, text })
    })
}

/// The first pass: what each name stands for.
fn define(line: Line, names: &mut Names, schema: &mut Schema) {
    let mut words = line.text.split_whitespace();
    match line.word(words.next()) {
        "rule" => {
            let name = line.word(words.next());
            let rest = line.text["rule ".len() + name.len()..].trim_start();
            let (message, expression) = rest.split_once(" | ").unwrap_or_else(|| line.wrong("no expression"));
            names.rules.insert(name, schema.rules.len());
            schema.rules.push(Rule { name, message, expression });
        }
        "pattern" => {
            names.patterns.insert(line.word(words.next()), line.word(words.next()));
        }
        "enum" => {
            let name = line.word(words.next());
            names.enums.insert(name, schema.enums.len());
            schema.enums.push(Enum { name, full_name: line.word(words.next()), values: words.collect() });
        }
        "message" => {
            let name = line.word(words.next());
            names.messages.insert(name, schema.messages.len());
            schema.messages.push(Message {
                name,
                fields: vec![],
                by_name: HashMap::new(),
                rules: vec![],
                oneofs: vec![],
            });
        }
        _ => {}
    }
}

fn kind(line: Line, names: &Names) -> Kind {
    let mut words = line.text.split_whitespace().skip(1);
    let name = line.word(words.next());
    Kind {
        name,
        group: line.word(words.next()),
        versions: line.word(words.next()).split(',').collect(),
        plural: line.word(words.next()),
        short_names: line.word(words.next()).split(',').filter(|word| *word != "-").collect(),
        spec_required: words.next() == Some("spec-required"),
        spec: *names.messages.get(name).unwrap_or_else(|| line.wrong("no message of that name")),
    }
}

fn rule_list(list: &'static str, names: &Names, line: Line) -> Vec<usize> {
    list.split(',').map(|name| *names.rules.get(name).unwrap_or_else(|| line.wrong("no such rule"))).collect()
}

fn add_field(line: Line, names: &Names, message: &mut Message) {
    let mut words = line.text.split_whitespace();
    let (name, snake) = match line.word(words.next()).split_once('/') {
        Some((name, snake)) => (name, snake.to_string()),
        None => {
            let name = line.word(line.text.split_whitespace().next());
            (name, snake_case(name))
        }
    };
    let (shape, ty) = shape_and_type(line.word(words.next()), names, line);
    let mut field = Field {
        name,
        snake,
        shape,
        ty,
        required: false,
        count: None,
        key: None,
        all_rules: vec![],
        value: Constraints::default(),
        listed_twice: false,
        oneof: None,
    };
    if let Type::Uint32 = field.ty.bare() {
        (field.value.minimum, field.value.maximum) = (Some(0.0), Some(f64::from(u32::MAX)));
    } else if let Type::Uint64 = field.ty.bare() {
        field.value.minimum = Some(0.0);
    }
    let index = message.fields.len();
    for word in words {
        let (attribute, value) = word.split_once('=').unwrap_or((word, ""));
        match attribute {
            "required" => field.required = true,
            "items" | "entries" => field.count = Some(count_range(value, line)),
            "len" => field.value.length = Some(count_range(value, line)),
            "range" => {
                let (low, high) = value.split_once("..").unwrap_or_else(|| line.wrong("no range"));
                field.value.minimum = low.parse().ok();
                field.value.maximum = high.parse().ok();
            }
            "pattern" => {
                let text = names.patterns.get(value).unwrap_or_else(|| line.wrong("no such pattern"));
                let regex = regex::Regex::new(text).unwrap_or_else(|error| line.wrong(&error.to_string()));
                field.value.pattern = Some(Pattern { text, regex });
            }
            "rules" => field.value.rules = rule_list(value, names, line),
            "all-rules" => field.all_rules = rule_list(value, names, line),
            "key" => field.key = Some(value),
            "oneof" => field.oneof = Some(oneof(value, index, message)),
            "also" => field.listed_twice = true,
            _ => line.wrong("unknown attribute"),
        }
    }
    message.by_name.insert(name, index);
    if field.listed_twice {
        message.by_name.insert(field.snake.clone().leak(), index);
    }
    message.fields.push(field);
}

/// Adds a field to the group of that name.
fn oneof(name: &'static str, index: usize, message: &mut Message) -> usize {
    let group = message.oneofs.iter().position(|group| group.name == name).unwrap_or_else(|| {
        message.oneofs.push(OneOf { name, fields: vec![] });
        message.oneofs.len() - 1
    });
    message.oneofs[group].fields.push(index);
    group
}

fn shape_and_type(word: &'static str, names: &Names, line: Line) -> (Shape, Type) {
    let inner = |text: &'static str| value_type(text, names, line);
    if let Some(item) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return (Shape::List, inner(item));
    }
    if let Some(entry) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match entry.split_once(':') {
            Some((_, value)) => (Shape::Map { numeric_keys: true }, inner(value)),
            None => (Shape::Map { numeric_keys: false }, inner(entry)),
        };
    }
    (Shape::One, inner(word))
}

fn value_type(word: &'static str, names: &Names, line: Line) -> Type {
    if let Some(inner) = word.strip_prefix('?') {
        return Type::Nullable(Box::new(value_type(inner, names, line)));
    }
    Type::scalar(word).unwrap_or_else(|| match (names.enums.get(word), names.messages.get(word)) {
        (Some(id), None) => Type::Enum(*id),
        (None, Some(id)) => Type::Message(*id),
        _ => line.wrong("not one type of that name"),
    })
}

fn count_range(text: &str, line: Line) -> RangeInclusive<usize> {
    let (low, high) = text.split_once("..").unwrap_or_else(|| line.wrong("no range"));
    low.parse().unwrap_or(0)..=high.parse().unwrap_or(usize::MAX)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
