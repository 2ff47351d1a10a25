//! Texts that are nearly scenarios: those at hand, with bytes that the cutting of lines turns on put in, and parts taken out.

/// Numbers that look like chance, and are the same in every run (xorshift).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed)
    }

    /// A number below `below`.
    pub fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// What is put in.
const BITS: &[&str] = &[
    "\"",
    "'",
    "\\",
    "\\\n",
    "#",
    " # ",
    "<<YAML\n",
    "\nYAML\n",
    "<<'A'\n",
    "\"\"\"",
    "${",
    "}",
    "$${",
    "/",
    "|",
    "\r\n",
    "\n",
    "\t",
    " ",
    "한",
    "\u{feff}",
    "\u{1b}",
    "\u{0}",
    "end\n",
    "for\n",
    "scenario x\n",
    "expect ",
    "matches /",
    "\u{3000}",
    "\r",
    "[",
    "=",
    "->",
    "\u{a0}",
    "\u{2028}",
    "😀",
    "\u{ff1a}",
    "２",
    "＂",
    "– ",
];

/// One to four changes somewhere in the text: a bit put in, or some characters taken out.
pub fn characters(text: &mut String, chance: &mut Chance) {
    for _ in 0..=chance.below(4) {
        if chance.below(3) == 0 {
            let at = place(text, chance);
            let end = (at..=text.len()).skip(1 + chance.below(6)).find(|i| text.is_char_boundary(*i));
            text.replace_range(at..end.unwrap_or(text.len()), "");
        } else {
            put_in(text, chance);
        }
    }
}

/// A few lines of the text, some dropped, doubled, swapped, joined or indented, and then up to three bits put in.
pub fn lines(text: &str, chance: &mut Chance) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    // A window is enough: files are long, and lines are cut one by one.
    let from = chance.below(lines.len());
    lines = lines.into_iter().skip(from.saturating_sub(6)).take(12).collect();
    for _ in 0..chance.below(3) {
        let (a, b) = (chance.below(lines.len()), chance.below(lines.len()));
        if lines.is_empty() {
            break;
        }
        match chance.below(5) {
            0 => drop(lines.remove(a)),
            1 => lines.insert(b, lines[a].clone()),
            2 => lines.swap(a, b),
            3 => lines[a] = lines[a].trim_end().to_owned() + BITS[chance.below(BITS.len())],
            _ => lines[a] = format!("{}{}", [" ", "\t", "      ", "\u{feff}"][chance.below(4)], lines[a]),
        }
    }
    let mut text = lines.concat();
    for _ in 0..chance.below(4) {
        put_in(&mut text, chance);
    }
    text
}

fn put_in(text: &mut String, chance: &mut Chance) {
    let at = place(text, chance);
    text.insert_str(at, BITS[chance.below(BITS.len())]);
}

fn place(text: &str, chance: &mut Chance) -> usize {
    let mut at = chance.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
