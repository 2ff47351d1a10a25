//! Decompression of the deflate stream (RFC 1951) that carries SPDY's headers: one stream over all
//! frames, each frame ending on a byte boundary, with a preset dictionary as its first history.

const WINDOW: usize = 32 * 1024;

/// A damaged stream, or one that grows beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// The state that lives from frame to frame: what back references may reach.
pub struct Inflater {
    history: Vec<u8>,
}

struct Bits<'a> {
    input: &'a [u8],
    place: usize,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn take(&mut self, n: u32) -> Result<u32, Damaged> {
        while self.count < n {
            let byte = *self.input.get(self.place).ok_or(Damaged)?;
            self.held |= u32::from(byte) << self.count;
            self.place += 1;
            self.count += 8;
        }
        let value = self.held & ((1u32 << n) - 1);
        self.held >>= n;
        self.count -= n;
        Ok(value)
    }

    /// Whether nothing but padding of the last byte is left.
    fn is_done(&self) -> bool {
        self.place >= self.input.len() && self.count < 8
    }

    fn align(&mut self) {
        let odd = self.count % 8;
        self.held >>= odd;
        self.count -= odd;
    }
}

/// A canonical Huffman code: how many codes of each length, and the symbols in order.
struct Huffman {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Huffman {
    fn new(lengths: &[u8]) -> Huffman {
        let mut counts = [0u16; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut symbols = Vec::new();
        for wanted in 1..=15u8 {
            let fits = lengths.iter().enumerate().filter(|(_, l)| **l == wanted);
            // At most 288 symbols.
            symbols.extend(fits.map(|(symbol, _)| u16::try_from(symbol).unwrap_or(0)));
        }
        Huffman { counts, symbols }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<usize, Damaged> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0i32);
        for length in 1..=15 {
            code |= i32::try_from(bits.take(1)?).map_err(|_| Damaged)?;
            let count = i32::from(self.counts[length]);
            if code - count < first {
                let place = usize::try_from(index + (code - first)).map_err(|_| Damaged)?;
                return self.symbols.get(place).map(|s| usize::from(*s)).ok_or(Damaged);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Damaged)
    }
}

const LENGTH_BASE: [u16; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_BITS: [u8; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
const DISTANCE_BITS: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Inflater {
    pub fn new(dictionary: &[u8]) -> Inflater {
        Inflater { history: dictionary.to_vec() }
    }

    /// Decompresses one frame's part of the stream; at most `bound` bytes come out.
    pub fn part(&mut self, input: &[u8], bound: usize) -> Result<Vec<u8>, Damaged> {
        let start = self.history.len();
        let bound = start + bound;
        let mut bits = Bits { input, place: 0, held: 0, count: 0 };
        while !bits.is_done() {
            let last = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => self.stored(&mut bits, bound)?,
                1 => self.coded(&mut bits, &fixed(), bound)?,
                2 => {
                    let codes = dynamic(&mut bits)?;
                    self.coded(&mut bits, &codes, bound)?;
                }
                _ => return Err(Damaged),
            }
            if last {
                break;
            }
        }
        let out = self.history[start..].to_vec();
        let surplus = self.history.len().saturating_sub(WINDOW);
        self.history.drain(..surplus);
        Ok(out)
    }

    fn push(&mut self, byte: u8, bound: usize) -> Result<(), Damaged> {
        if self.history.len() >= bound {
            return Err(Damaged);
        }
        self.history.push(byte);
        Ok(())
    }

    fn stored(&mut self, bits: &mut Bits<'_>, bound: usize) -> Result<(), Damaged> {
        bits.align();
        let length = bits.take(16)?;
        if bits.take(16)? != !length & 0xFFFF {
            return Err(Damaged);
        }
        for _ in 0..length {
            let byte = bits.take(8)?;
            self.push(u8::try_from(byte).map_err(|_| Damaged)?, bound)?;
        }
        Ok(())
    }

    fn coded(&mut self, bits: &mut Bits<'_>, codes: &(Huffman, Huffman), bound: usize) -> Result<(), Damaged> {
        loop {
            let symbol = codes.0.read(bits)?;
            match symbol {
                0..=255 => self.push(u8::try_from(symbol).map_err(|_| Damaged)?, bound)?,
                256 => return Ok(()),
                257..=285 => {
                    let i = symbol - 257;
                    let length = usize::from(LENGTH_BASE[i]) + bits.take(u32::from(LENGTH_BITS[i]))? as usize;
                    let d = codes.1.read(bits)?;
                    let base = DISTANCE_BASE.get(d).ok_or(Damaged)?;
                    let distance = usize::from(*base) + bits.take(u32::from(DISTANCE_BITS[d]))? as usize;
                    for _ in 0..length {
                        let from = self.history.len().checked_sub(distance).ok_or(Damaged)?;
                        let byte = self.history[from];
                        self.push(byte, bound)?;
                    }
                }
                _ => return Err(Damaged),
            }
        }
    }
}

fn fixed() -> (Huffman, Huffman) {
    let mut lengths = [8u8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    (Huffman::new(&lengths), Huffman::new(&[5; 30]))
}

fn dynamic(bits: &mut Bits<'_>) -> Result<(Huffman, Huffman), Damaged> {
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let codes = bits.take(4)? as usize + 4;
    let mut lengths = [0u8; 19];
    for place in ORDER.iter().take(codes) {
        lengths[*place] = u8::try_from(bits.take(3)?).map_err(|_| Damaged)?;
    }
    let code = Huffman::new(&lengths);
    let mut all: Vec<u8> = Vec::new();
    while all.len() < literals + distances {
        let symbol = code.read(bits)?;
        let (value, times) = match symbol {
            0..=15 => (u8::try_from(symbol).map_err(|_| Damaged)?, 1),
            16 => (*all.last().ok_or(Damaged)?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            _ => (0, bits.take(7)? + 11),
        };
        all.extend(std::iter::repeat_n(value, times as usize));
    }
    if all.len() > literals + distances || literals > 286 || distances > 30 {
        return Err(Damaged);
    }
    Ok((Huffman::new(&all[..literals]), Huffman::new(&all[literals..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    /// Three flushes of one zlib stream with a preset dictionary: fixed codes that reach into it, fixed
    /// codes with a long run, dynamic codes.
    #[test]
    fn parts_of_one_stream_reach_back_into_the_dictionary() {
        let dictionary = b"the quick brown fox jumps over the lazy dog streamtype error data port requestID ";
        let mut inflater = Inflater::new(dictionary);
        let first = inflater.part(&bytes("c2500496373435303040526500000000ffff"), 1000).unwrap();
        assert_eq!(first, b"streamtype error port 15000 requestID 0");
        let second = inflater.part(&bytes(SECOND), 2000).unwrap();
        assert!(second.starts_with(b"streamtype data port 15000 requestID 0 \x00\x01\x02"));
        assert!(second.ends_with(&b"quick brown fox ".repeat(40)));
        assert_eq!(second.len(), 39 + 256 + 640);
        let third = inflater.part(&bytes(THIRD), 2000).unwrap();
        assert_eq!(String::from_utf8(third).unwrap(), TEXT);
    }

    #[test]
    fn damage_and_excess_are_errors() {
        let mut inflater = Inflater::new(b"");
        assert_eq!(inflater.part(&bytes(SECOND), 100), Err(Damaged), "more than the bound");
        assert_eq!(Inflater::new(b"").part(&[0xFF, 0xFF, 0xFF], 100), Err(Damaged));
        assert_eq!(
            Inflater::new(b"").part(&bytes("c2500496373435303040526500000000ffff"), 100),
            Err(Damaged),
            "it reaches before the start"
        );
    }

    const SECOND: &str = "4252863005439502032313330b2b1b3b072717370f2f1fbf80a090b088a898b884a494b48cac9cbc82a292b28aaa9aba86a696b68eae9ebe81a191b189a999b985a595b58dad9dbd83a393b38bab9bbb87a797b78faf9f7f4060507048685878446454744c6c5c7c426252724a6a5a7a466656764e6e5e7e4161517149695979456555754d6d5d7d436353734b6b5b7b476757774f6f5fff848993264f993a6dfa8c99b366cf993b6ffe82858b162f59ba6cf98a95ab56af59bb6efd868d9b366fd9ba6dfb8e9dbb76efd9bb6fff8183870e1f397aecf88993a74e9f397beefc858b972e5fb97aedfa8d9bb76edfb97beffe83878f1e3f79faecf98b97af5ebf79fbeefd878f9f3e7ff9faedfb8f9fbf7efff9fbef3f7ad48cf247f9f4e403000000ffff";
    const THIRD: &str = "4454db910331086bc5adf1a6ff0a4e129b397f641cdb8024c4468463ed8ebbd9cc98d96e66f2afd9c349263699ab63aec2a157773f2efcafc2a562713b1381e3c611b3cf60c354b88f670ac06d23087bb34b6176e998c674d86d880e3e314121248fa840242e8aab7b9598fb37c9501517ea64e2cb3c95e5aec032bb6cb96f5a7847a967580be533811a6fddc50f5742922988f8a97d4d960cc2354e77bd6cc49e1823994ea8288db7092b65f32dd1dc6ee54c646b7206320ae092fe39612f0af02ca2db85a6f2a719447f3f5120b41662aa4e69920ea934acbac11c6c09482c993e204ae53f2171c50260354a70cda5f6b7aeaf78e45204c14975d95b3ae2b22c99f948628acd2a6a25f1ef16d1ac5a030ef4c7534bf8e060b36eb3183d454d609f50ae2168f2c173f5c6a7c94afe55fb932d76952372f90bd96803b9457b9596636426105aa9f482f0646e746ee34ca24e15bb04a221b674b3ec0e57c8f34580342a90f2ee22a3267fb94be1f44da50c2a2e02f7f3a9142d22023e75f4fcc1d7cbebae217554d3b85ce81e815ff383c4f1d4459d527e2366ded70202e78c1881b610d1d3761859ef8ce1f539910dc02b12506b68b76f3e9fb4c6a1a955f6497fdf044da060a84337fe7c4771574ee42cf4d8ff2c5f9389487a8dab59458d431f23cdea39f20a8010fde7fecd000549dd68c28086c46fdefc1c9f51f78d7b379e4ba53f1f08b78692679f99d4b03847b6309022c68b1f12cecfb1d778a56cdc377a750964eaf373bcf87cfd070000ffff";
    const TEXT: &str = "cccbbbbhhgbbaagggaaahhdddbbaaaa gggddaaaddhhhdddddddegggbefff     ddeeehhhgggaadddggcc   fhhh cccgghhhaaaagggc a   dd  ffeee   aa    ddaafff   hhggaaa   ffacccc  aaabaaaaddbbbcceceeeccceeeeeffhaagggeeee gdgaaacc   gggddd  dddaafffgedebbeeecceaaaaaadddh gfdddgggddbbbgg  aaggaddccgeeebb     bbbaccccddfff  fffeh fggccbbbg bbff hhbeagadddgbbcccdbbgggeeeeeehhbfaeeeffgggbbhe   hhhffcccdddfehfggaaccef   bdddbb baaffhbbbf   ccffbbb   ed   aa   dee aaaddbbbhh      aafeeaaagggafffcccceeggggbhcccfffhhhdffhgg   eeedbbbf eeeeefhhhb   gccgaagggff    aaabbbbbbbddggcchhbb  bbbeedd dddhhhaddde eeeeeh  hhbgeaaaaeeec  ee   ffffbbhheeegghggdddaa hhh  eeecc fffaaagggggfffbbdddeeeaacccggcaaeeeggg  cceecc eeebbbgfhccccccbbeeee ddebbb   ff   aeee  fffdd  cceeefffdddddaaagggebbbccchhhcccee chheeddddebgghcaaaaaa   hhecddddhhcddhhhghhheehhhbbahhgggegcaaccc ggchhheaaaaaacegdhhhccceeedddhhfffeedaaaccggg    fffgggddd  bbbeeebbccddabbbhhhffcccaacch  bbfegeeccgeg   ddfffggghccchhh      aacff  bbfbeee  ggffee   aaabfffffbbeehhgaaaahhheffffeefff aeeedddccca   eeebe   bdddcccgffedddhggfffddbbgaaa    bb   gffaeeeaaabb   fff       gggeee  cccccaaaaggeeeabgghhfffhhggbbfgaeeccceeeeeeeegggeeffdddhhgbddddaehgggcbbaaadddggaaabbb   gggbbehhhabbbbbhh  ghccd  ggg  hhh ffbfffe   hhb  eeeddcegggaaa ggeeeehhhhfccchhhc     cccddhhfcebbb   aaacccbdddeefaadddff  affceaabbbfeeeaaaccfffdffaaaffffccceebbb  gggggdddeeec cddeeeaa";
}
