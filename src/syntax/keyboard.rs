//! English words typed while the keyboard stood on Korean (two-set layout): `ㅁㅔㅔㅣㅛ` is `apply`.

use unicode_normalization::UnicodeNormalization;

/// Keys of the leading consonants, U+1100 and on.
const LEADING: [&str; 19] =
    ["r", "R", "s", "e", "E", "f", "a", "q", "Q", "t", "T", "d", "w", "W", "c", "z", "x", "v", "g"];
/// Keys of the vowels, U+1161 and on, and U+314F and on.
const VOWELS: [&str; 21] =
    ["k", "o", "i", "O", "j", "p", "u", "P", "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl", "b", "m", "ml", "l"];
/// Keys of the trailing consonants, U+11A8 and on.
const TRAILING: [&str; 27] = [
    "r", "R", "rt", "s", "sw", "sg", "e", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg", "a", "q", "qt", "t", "T", "d",
    "w", "c", "z", "x", "v", "g",
];
/// Keys of consonants that stand alone, U+3131 and on.
const ALONE: [&str; 30] = [
    "r", "R", "rt", "s", "sw", "sg", "e", "E", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg", "a", "q", "Q", "qt", "t",
    "T", "d", "w", "W", "c", "z", "x", "v", "g",
];

/// The keys that were struck, as the English layout has them; none when the word holds nothing Korean.
pub fn in_english(word: &str) -> Option<String> {
    let mut out = String::new();
    let mut korean = false;
    for c in word.nfd() {
        let key = |first: u32, keys: &[&'static str]| {
            (c as u32).checked_sub(first).and_then(|i| keys.get(i as usize)).copied()
        };
        let struck = key(0x1100, &LEADING)
            .or_else(|| key(0x1161, &VOWELS))
            .or_else(|| key(0x11a8, &TRAILING))
            .or_else(|| key(0x3131, &ALONE))
            .or_else(|| key(0x314f, &VOWELS));
        match struck {
            Some(keys) => {
                korean = true;
                out.push_str(keys);
            }
            None => out.push(c),
        }
    }
    korean.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::in_english;

    #[test]
    fn keys_are_those_of_the_two_set_layout() {
        assert_eq!(in_english("ㅁㅔㅔㅣㅛ").as_deref(), Some("apply"));
        assert_eq!(in_english("ㄷㅌㅔㄷㅊㅅ").as_deref(), Some("expect"));
        assert_eq!(in_english("ㄴㅅㅁ셔ㄴ").as_deref(), Some("status"));
        assert_eq!(in_english("apply"), None);
    }
}
