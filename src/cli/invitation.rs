//! An invitation as a person can use it: the link, and its QR code for a phone's camera.

use std::io::{IsTerminal, stdout};

use qrcodegen::{QrCode, QrCodeEcc};

/// The link, and the code if somebody looks.
pub fn text(uri: &str) -> String {
    let code = stdout().is_terminal().then(|| QrCode::encode_text(uri, QrCodeEcc::Medium).ok()).flatten();
    format!("{uri}\n{}", code.map(|code| draw(&code)).unwrap_or_default())
}

/// Two rows of modules in one row of half blocks, dark on light with a quiet border.
fn draw(code: &QrCode) -> String {
    const BORDER: i32 = 2;
    let light = |x, y| !code.get_module(x, y);
    let mut out = String::new();
    let mut y = -BORDER;
    while y < code.size() + BORDER {
        for x in -BORDER..code.size() + BORDER {
            out.push(match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push('\n');
        y += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_square_with_a_border() {
        let code = QrCode::encode_text("xmpp:home.example?register;preauth=x", QrCodeEcc::Medium).unwrap();
        let drawn = draw(&code);
        let width = code.size() as usize + 4;
        assert!(drawn.lines().all(|line| line.chars().count() == width));
        assert_eq!(drawn.lines().count(), width.div_ceil(2));
        assert!(drawn.starts_with("██"));
    }
}
