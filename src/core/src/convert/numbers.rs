//! Number tokens to doubles, correctly rounded, eight digits at a time.

use super::machine::Machine;
use super::scan::{Near, far8, load8, near8};
use super::stop::{Fault, Outcome};

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

const INTEGER_POWERS: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Whole numbers below this keep all their digits as doubles, behind a point too.
const MANTISSA_MAX: u64 = 1_000_000_000_000_000;

/// Digits that any double keeps: a token with no more significant digits loses nothing.
const SAFE_DIGITS: u32 = 15;

/// How many of the eight bytes (first lowest) are digits, from the first on, and those digits as
/// values 0 to 9. A carry can only reach bytes behind the first that is no digit.
#[inline(always)]
fn leading_digits(word: u64) -> (usize, u64) {
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    ((others.trailing_zeros() / 8) as usize, values)
}

/// The number that `count` (1 to 8) digit values spell.
#[inline(always)]
fn spell(values: u64, count: usize) -> u64 {
    // Zeros move in front, so that the digits stand where an eight-digit number has them.
    let digits = values << (64 - 8 * count as u32);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32
}

/// A number as it stands in most members: up to three digits and the member's end, in the first of
/// these four bytes. Nothing for any other.
#[inline(always)]
pub(super) fn tiny_number(word: u32) -> Option<(f64, usize)> {
    // As `leading_digits`; the bits are eight for each digit and seven more.
    let values = word ^ 0x3030_3030;
    let others = (values.wrapping_add(0x7676_7676) | values) & 0x8080_8080;
    let bits = others.trailing_zeros();
    let shift = bits & 24;
    // A comma or a closing brace, or one of six others that go on with no number either.
    let is_end = (word >> shift) as u8 | 0x51 == b'}';
    if !(bits.wrapping_sub(15) <= 16 && is_end) {
        return None;
    }
    // A leading zero is a number only alone.
    if values as u8 == 0 {
        return (bits == 15).then_some((0.0, 1));
    }
    let digits = values.wrapping_shl(shift.wrapping_neg());
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF;
    let value = pairs.wrapping_mul(100 << 16 | 1) >> 16;
    Some((f64::from(value as i32), (shift / 8) as usize))
}

/// A number of up to fifteen digits, as clocks have them, of which up to eight stand before a point and up
/// to seven behind it, and its length; it starts at `at`, which is at most 31. A length of 0 for any
/// other.
#[inline(never)]
pub(super) fn longer_number(near: &Near, at: usize) -> (f64, usize) {
    let (whole, values) = leading_digits(near8(near, at));
    let point = (at & 31) + whole;
    let next = near.get(point).copied().unwrap_or(0);
    // A leading zero is a number only alone.
    if whole != 0 && values as u8 != 0 {
        let mantissa = spell(values, whole);
        if next == b',' || next == b'}' {
            return (mantissa as i64 as f64, whole);
        }
        let (count, values) = leading_digits(far8(near, point + 1));
        let end = point + 1 + count;
        let next_but_one = near.get(end).copied().unwrap_or(0);
        if next == b'.' && matches!(count, 1..8) && (next_but_one == b',' || next_but_one == b'}') {
            let mantissa = mantissa * INTEGER_POWERS[count] + spell(values, count);
            // Both are exact doubles, so one operation rounds once.
            return (mantissa as i64 as f64 / POWERS[count], whole + 1 + count);
        }
    }
    (0.0, 0)
}

/// [`plain_number`], and its length; 0 when it is none.
#[inline(never)]
pub(super) fn any_number(text: &[u8], at: usize) -> (f64, usize) {
    plain_number(text, at).map_or((0.0, 0), |(value, end)| (value, end - at))
}

/// The number at `at` when its digits are so few that a double surely keeps them and it has no
/// exponent, and where it ends. Nothing for any other, and for what is no number.
#[inline(never)]
pub(super) fn plain_number(input: &[u8], at: usize) -> Option<(f64, usize)> {
    let mut word = load8(input, at);
    let mut start = at;
    let is_negative = word as u8 == b'-';
    if is_negative {
        start += 1;
        word = load8(input, start);
    }
    let (count, values) = leading_digits(word);
    // A leading zero is a number only alone.
    if count == 0 || values as u8 == 0 && count > 1 {
        return None;
    }
    let mut mantissa = spell(values, count);
    let mut end = start + count;
    if count == 8 {
        (mantissa, end) = more_digits(input, mantissa, end)?;
    }
    let mut next = byte_at(input, end);
    let mut value = mantissa as i64 as f64;
    if next == b'.' {
        let point = end;
        let (count, values) = leading_digits(load8(input, point + 1));
        if count == 0 {
            return None;
        }
        // Fifteen digits and eight more are beyond sixty-four bits.
        if mantissa >= MANTISSA_MAX / 100_000_000
            && mantissa >= MANTISSA_MAX / INTEGER_POWERS[count]
        {
            return None;
        }
        mantissa = mantissa * INTEGER_POWERS[count] + spell(values, count);
        end = point + 1 + count;
        if count == 8 {
            if mantissa >= 10_000_000_000 {
                return None;
            }
            (mantissa, end) = more_digits(input, mantissa, end)?;
            if mantissa >= MANTISSA_MAX {
                return None;
            }
        }
        // Both are exact doubles, so one operation rounds once.
        value = mantissa as i64 as f64 / POWERS[end - point - 1];
        next = byte_at(input, end);
    }
    if next | 0x20 == b'e' {
        return None;
    }
    Some((if is_negative { -value } else { value }, end))
}

/// Up to seven digits behind eight; nothing when there are more.
#[inline(always)]
fn more_digits(input: &[u8], mantissa: u64, at: usize) -> Option<(u64, usize)> {
    let (count, values) = leading_digits(load8(input, at));
    match count {
        0 => Some((mantissa, at)),
        8 => None,
        _ => Some((mantissa * INTEGER_POWERS[count] + spell(values, count), at + count)),
    }
}

#[inline(always)]
fn byte_at(input: &[u8], at: usize) -> u8 {
    input.get(at).copied().unwrap_or(0)
}

/// A number token read to its end: digits without leading zeros, and where the point stands.
#[derive(Clone, Copy, Debug, Default)]
struct Token {
    mantissa: u64,
    /// Significant digits read, also those that did not fit the mantissa.
    digits: u32,
    /// Trailing zeros among them.
    trailing_zeros: u32,
    exponent: i64,
    is_integer: bool,
}

impl Token {
    fn push(&mut self, digit: u8) {
        if self.digits == 0 && digit == 0 {
            return;
        }
        self.digits += 1;
        self.trailing_zeros = if digit == 0 { self.trailing_zeros + 1 } else { 0 };
        if self.digits <= 19 {
            self.mantissa = self.mantissa * 10 + u64::from(digit);
        }
    }

    /// Whether `value`, the nearest double, says all that the token says.
    fn survives(&self, value: f64) -> bool {
        if self.digits == 0 {
            return true;
        }
        if value == 0.0 || value.is_infinite() {
            return false;
        }
        let significant = self.digits - self.trailing_zeros;
        if significant <= SAFE_DIGITS {
            return true;
        }
        if self.digits > 19 {
            return false;
        }
        if self.is_integer {
            return value < 18_446_744_073_709_551_616.0 && value as u64 == self.mantissa;
        }
        // Sixteen and seventeen digits are what shortest formatting prints: same digits, same token.
        let stripped = self.mantissa / 10_u64.pow(self.trailing_zeros);
        shortest_digits(value.abs()) == stripped
    }
}

/// The digits of the shortest text that reads as `value`, without zeros at its ends.
fn shortest_digits(value: f64) -> u64 {
    let mut buffer = zmij::Buffer::new();
    let mut digits = 0_u64;
    let mut zeros = 0;
    for byte in buffer.format_finite(value).bytes() {
        match byte {
            b'0' => zeros += 1,
            b'1'..=b'9' => {
                digits = digits * 10_u64.pow(if digits == 0 { 0 } else { zeros });
                digits = digits * 10 + u64::from(byte - b'0');
                zeros = 0;
            }
            b'e' | b'E' => break,
            _ => {}
        }
    }
    digits
}

impl Machine<'_> {
    /// Reads the number at the position. Sets `inexact` when its double says less than the token.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Outcome<f64> {
        if let Some((value, end)) = plain_number(self.input, self.at) {
            self.at = end;
            return Ok(value);
        }
        self.number_general()
    }

    /// Any number token, and the words that games print for what is no number.
    #[inline(never)]
    fn number_general(&mut self) -> Outcome<f64> {
        let start = self.at;
        let negative = self.byte() == b'-';
        if negative {
            self.at += 1;
        }
        if !self.byte().is_ascii_digit() {
            return self.number_word(start, negative);
        }
        let mut token = Token { is_integer: true, ..Token::default() };
        if self.byte() == b'0' && self.byte_at(self.at + 1).is_ascii_digit() {
            return self.fault(Fault::Number);
        }
        self.digits(&mut token);
        if self.byte() == b'.' {
            self.at += 1;
            let before = self.at;
            if !self.byte().is_ascii_digit() {
                return self.fault(Fault::Number);
            }
            self.digits(&mut token);
            token.exponent -= (self.at - before) as i64;
            token.is_integer = false;
        }
        if self.byte() | 0x20 == b'e' {
            self.at += 1;
            token.is_integer = false;
            let minus = self.byte() == b'-';
            if minus || self.byte() == b'+' {
                self.at += 1;
            }
            if !self.byte().is_ascii_digit() {
                return self.fault(Fault::Number);
            }
            let mut exponent = 0_i64;
            while self.byte().is_ascii_digit() {
                exponent = (exponent * 10 + i64::from(self.byte() - b'0')).min(1_000_000_000);
                self.at += 1;
            }
            token.exponent += if minus { -exponent } else { exponent };
        }
        let value = if token.digits <= 19
            && token.mantissa <= 1 << 53
            && token.exponent.unsigned_abs() <= 22
        {
            // Both are exact doubles, so one operation rounds once.
            let mantissa = token.mantissa as f64;
            let power = POWERS[token.exponent.unsigned_abs() as usize];
            let value = if token.exponent < 0 { mantissa / power } else { mantissa * power };
            if negative { -value } else { value }
        } else {
            match fast_float2::parse::<f64, _>(&self.input[start..self.at]) {
                Ok(value) => value,
                Err(_) => return self.fault(Fault::Number),
            }
        };
        if !token.survives(value) {
            self.inexact = true;
        }
        Ok(value)
    }

    fn digits(&mut self, token: &mut Token) {
        loop {
            let word = load8(self.input, self.at);
            let (count, values) = leading_digits(word);
            if count == 8 && token.digits > 0 && token.digits + 8 <= 19 {
                token.mantissa = token.mantissa * 100_000_000 + spell(values, 8);
                token.digits += 8;
                let zeros = values.leading_zeros() / 8;
                token.trailing_zeros = if zeros == 8 { token.trailing_zeros + 8 } else { zeros };
                self.at += 8;
                continue;
            }
            for index in 0..count {
                token.push((values >> (8 * index)) as u8);
            }
            self.at += count;
            if count < 8 {
                return;
            }
        }
    }

    /// `inf`, `nan` and their spellings, which LuaJIT and Python print bare.
    fn number_word(&mut self, start: usize, negative: bool) -> Outcome<f64> {
        const WORDS: [(&[u8], f64); 4] = [
            (b"Infinity", f64::INFINITY),
            (b"inf", f64::INFINITY),
            (b"nan", f64::NAN),
            (b"NaN", f64::NAN),
        ];
        for (word, value) in WORDS {
            if self.input[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value.copysign(if negative { -1.0 } else { 1.0 }));
            }
        }
        self.at = start;
        self.fault(Fault::Number)
    }
}
