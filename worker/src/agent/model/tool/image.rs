//! Pictures of the workspace, for models that see.

use super::super::history::Image;

/// Largest picture that is shown, in bytes: what every provider takes.
const IMAGE_BYTES_MAX: usize = 3 << 20;

/// Most pixels of one side.
const SIDE_MAX: u32 = 8_000;

/// A picture from the bytes of a file.
pub fn image(path: &str, bytes: &[u8]) -> Result<Image, String> {
    let (media_type, (width, height)) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", png(bytes).ok_or_else(|| format!("{path}: a broken PNG"))?)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        ("image/jpeg", jpeg(bytes).ok_or_else(|| format!("{path}: a broken JPEG"))?)
    } else {
        return Err(format!("{path}: neither PNG nor JPEG"));
    };
    if bytes.len() > IMAGE_BYTES_MAX {
        return Err(format!("{path}: {} bytes; at most {IMAGE_BYTES_MAX} can be shown", bytes.len()));
    }
    if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX {
        return Err(format!("{path}: {width} x {height} pixels; at most {SIDE_MAX} a side can be shown"));
    }
    Ok(Image { media_type: media_type.to_owned(), base64: base64(bytes), width, height })
}

/// A picture as it travels.
pub fn from_base64(what: &str, text: &str) -> Result<Image, String> {
    let bytes = bytes_of_base64(text).ok_or_else(|| format!("{what}: it is no base64"))?;
    image(what, &bytes)
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    (bytes.get(12..16)? == b"IHDR").then_some(())?;
    Some((number(16)?, number(20)?))
}

/// Walks the segments up to the one that begins a frame.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            // Tables and arithmetic coding are in the same range as the frames.
            0xc4 | 0xc8 | 0xcc => at += 2 + usize::from(number(at + 2)?),
            0xc0..=0xcf => return Some((u32::from(number(at + 7)?), u32::from(number(at + 5)?))),
            0xd9 | 0xda => return None,
            _ => at += 2 + usize::from(number(at + 2)?).max(2),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= chunk.len() { DIGITS[index] as char } else { '=' });
        }
    }
    text
}

/// `None` for what is none; line ends are passed over, and the fill at the end may be missing.
fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut group, mut bits) = (0_u32, 0);
    for digit in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        group = group << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_of(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes
    }

    #[test]
    fn sizes_are_read_and_bounded() {
        let shown = image("a.png", &png_of(3, 5)).expect("a picture");
        assert_eq!((shown.media_type.as_str(), shown.width, shown.height), ("image/png", 3, 5));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x03x\xff\xc2\0\x0b\x08\0\x02\0\x09\x01";
        let shown = image("a.jpg", jpeg).expect("a picture");
        assert_eq!((shown.media_type.as_str(), shown.width, shown.height), ("image/jpeg", 9, 2));
        let refused = |bytes: &[u8]| image("x", bytes).expect_err("refused");
        assert!(refused(b"GIF89a").contains("neither"));
        assert!(refused(&png_of(9_000, 5)).contains("pixels"));
        assert!(refused(&png_of(0, 5)).contains("pixels"));
        assert!(refused(b"\x89PNG\r\n\x1a\n\0").contains("broken"));
        for end in 3..jpeg.len() - 3 {
            assert!(image("x", &jpeg[..end]).is_err(), "cut at {end}");
        }
        let mut large = png_of(3, 5);
        large.resize(IMAGE_BYTES_MAX + 1, 0);
        assert!(refused(&large).contains("bytes"));
    }

    #[test]
    fn base64_is_the_usual_one() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(bytes_of_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
        assert_eq!(bytes_of_base64("/+\n++").as_deref(), Some(&[0xff, 0xef, 0xbe][..]));
        assert_eq!(bytes_of_base64("Zm 9v\u{fc}"), None);
    }
}
