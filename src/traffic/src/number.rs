//! Numbers as Lua's `%.14g` writes them, with its bare `inf` and `nan`.

/// Digits that `%.14g` keeps.
const PRECISION: i32 = 14;

/// Appends `value` as the mod's encoder does: `%.14g`, so `300`, `0.3`, `1e+14`, `-0`, and the
/// bare tokens `inf`, `-inf`, `nan`, `-nan` that strict JSON has no room for.
pub fn write_number(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
        return;
    }
    let scientific = format!("{value:.13e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} always writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes a decimal exponent");
    if (-4..PRECISION).contains(&exponent) {
        let decimals = (PRECISION - 1 - exponent) as usize;
        let fixed = format!("{value:.decimals$}");
        out.extend_from_slice(without_trailing_zeros(&fixed).as_bytes());
    } else {
        out.extend_from_slice(without_trailing_zeros(mantissa).as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_the_numbers_that_games_were_seen_to_send() {
        for (value, expected) in [
            (300.0, "300"),
            (0.3, "0.3"),
            (0.1 + 0.2, "0.3"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (99_999_999_999_999.9, "1e+14"),
            (123_456_789_012_345_678.0, "1.2345678901235e+17"),
            (1e308, "1e+308"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (5e-324, "4.9406564584125e-324"),
            (86_400_516.669_667, "86400516.669667"),
            (-2.5, "-2.5"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN.copysign(1.0), "nan"),
            (f64::NAN.copysign(-1.0), "-nan"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest! {
        #[test]
        fn keeps_fourteen_digits_of_every_finite_number(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite() && value.abs() > 1e-300 && value.abs() < 1e300);
            let back: f64 = text(value).parse().unwrap();
            prop_assert!(((back - value) / value).abs() < 1e-13);
        }
    }
}
