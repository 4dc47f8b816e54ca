//! Pictures of the building: what `fanal demo` paints and how `fanal watch` draws.
//!
//! A picture is 14 storeys of 28 windows, row by row, each red, green, blue. Everything here is
//! pure: a moment in, a picture out; a picture in, text out. Terminals and sockets are elsewhere.

use std::f64::consts::{PI, TAU};
use std::fmt::Write as _;

/// Windows of one storey.
pub const WINDOWS: usize = 28;
/// Storeys of the building.
pub const STOREYS: usize = 14;
/// Bytes of one picture.
pub const PICTURE_BYTES: usize = WINDOWS * STOREYS * 3;

/// A picture as it goes over the wire.
pub type Picture = [u8; PICTURE_BYTES];

/// How a picture becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Half blocks in 24-bit colour.
    Colour,
    /// Plain characters, darker and lighter ones, for people who set `NO_COLOR`.
    Letters,
}

/// The picture as one line of text per storey, each 56 columns wide.
///
/// A window is two upper half blocks. Their lower halves are a dimmer shade of the same colour,
/// so that the storeys stay apart as they do on the building and a window is about square.
pub fn draw(picture: &Picture, ink: Ink) -> Vec<String> {
    let storeys = picture.chunks_exact(WINDOWS * 3);
    match ink {
        Ink::Colour => storeys.map(draw_in_colour).collect(),
        Ink::Letters => storeys.map(draw_in_letters).collect(),
    }
}

fn draw_in_colour(storey: &[u8]) -> String {
    let mut line = String::with_capacity(WINDOWS * 44);
    let mut last = None;
    for window in windows(storey) {
        if last != Some(window) {
            let [red, green, blue] = window;
            let [dim_red, dim_green, dim_blue] = window.map(dimmed);
            // Writing into a String cannot fail.
            let _ = write!(
                line,
                "\x1b[38;2;{red};{green};{blue};48;2;{dim_red};{dim_green};{dim_blue}m"
            );
            last = Some(window);
        }
        line.push_str("▀▀");
    }
    line.push_str("\x1b[0m");
    line
}

fn draw_in_letters(storey: &[u8]) -> String {
    let mut line = String::with_capacity(WINDOWS * 2);
    for window in windows(storey) {
        let letter = match luminance(window) {
            0..12 => ' ',
            12..32 => '.',
            32..60 => ':',
            60..92 => '-',
            92..124 => '=',
            124..156 => '+',
            156..188 => '*',
            188..220 => '#',
            _ => '@',
        };
        line.push(letter);
        line.push(letter);
    }
    line
}

fn windows(storey: &[u8]) -> impl Iterator<Item = [u8; 3]> {
    storey.chunks_exact(3).filter_map(|window| <[u8; 3]>::try_from(window).ok())
}

/// Three fifths: dark enough to see the storeys, light enough not to dim the picture.
fn dimmed(channel: u8) -> u8 {
    channel / 5 * 3
}

fn luminance([red, green, blue]: [u8; 3]) -> u16 {
    (u16::from(red) * 54 + u16::from(green) * 183 + u16::from(blue) * 18) / 255
}

/// The picture of the demo at a moment: a lighthouse whose beam sweeps over a night by the sea.
pub fn lighthouse_at(seconds: f64) -> Picture {
    let mut picture = [0; PICTURE_BYTES];
    let mut places =
        (0..STOREYS).flat_map(|storey| (0..WINDOWS).map(move |window| (window, storey)));
    for window in picture.chunks_exact_mut(3) {
        if let Some((x, y)) = places.next() {
            window.copy_from_slice(&night(coordinate(x), coordinate(y), seconds).map(channel));
        }
    }
    picture
}

/// Seconds in which the beam goes round once.
const TURN_SECONDS: f64 = 5.0;
/// Where the lamp is, in windows and storeys.
const LAMP: (f64, f64) = (20.0, 3.0);
/// The first storey of the sea.
const SEA: f64 = 11.0;

type Light = [f64; 3];

fn night(x: f64, y: f64, seconds: f64) -> Light {
    let beam = beam(x, y, seconds);
    if let Some(tower) = tower(x, y, seconds) {
        return tower;
    }
    if y >= SEA {
        return sea(x, y, seconds, beam);
    }
    let warm: Light = [1.0, 0.86, 0.5];
    add(sky(x, y, seconds), scale(warm, beam))
}

/// A deep blue sky with an aurora that drifts through it and stars that twinkle.
fn sky(x: f64, y: f64, seconds: f64) -> Light {
    let height = 1.0 - y / SEA;
    let dusk: Light = [0.16, 0.05, 0.16];
    let zenith: Light = [0.01, 0.02, 0.11];
    let ground = add(scale(dusk, (1.0 - height).powi(2)), scale(zenith, 0.4 + 0.6 * height));

    let curtain = (0.42 * x + 1.1 * (0.5 * y + 0.6 * seconds).sin() + 0.5 * seconds).sin();
    let folds = 0.5 + 0.5 * (0.23 * x - 0.31 * seconds + 0.2 * y).sin();
    let strength = curtain.max(0.0).powi(2) * folds * height.sqrt() * 0.8;
    let mix = 0.5 + 0.5 * (0.17 * x + 0.23 * seconds).sin();
    let aurora = [0.25 * mix + 0.05, 0.75 - 0.35 * mix, 0.45 + 0.3 * mix];

    // A hash of the place decides which windows hold a star.
    let chance = ((x * 12.989 + y * 78.233).sin() * 43_758.547).rem_euclid(1.0);
    let twinkle = 0.5 + 0.5 * (seconds * (1.0 + 2.0 * chance) + chance * 90.0).sin();
    let star = if chance > 0.94 && y < SEA - 3.0 { 0.5 * twinkle } else { 0.0 };

    add(add(ground, scale(aurora, strength)), [star, star, star])
}

/// Waves that run to the shore and glitter where the beam passes over them.
fn sea(x: f64, y: f64, seconds: f64, beam: f64) -> Light {
    let depth = y - SEA;
    let wave = (0.8 * x - 2.2 * seconds + 2.1 * depth).sin() * (0.31 * x + 0.9 * seconds).sin();
    let swell = 0.5 + 0.5 * wave;
    let water: Light = [0.01 + 0.03 * swell, 0.06 + 0.13 * swell, 0.17 + 0.2 * swell];
    let glitter = beam * (0.25 + 0.75 * swell);
    add(water, scale([0.9, 0.8, 0.5], glitter))
}

/// The tower, its gallery and its lamp, or none where there is sky or sea.
fn tower(x: f64, y: f64, seconds: f64) -> Option<Light> {
    let (lamp_x, lamp_y) = LAMP;
    let aside = (x - lamp_x).abs();
    if aside < 0.5 && (y - lamp_y).abs() < 0.5 {
        // The lamp pulses once for each of the two cones.
        let flare = 0.75 + 0.25 * (TAU * seconds / TURN_SECONDS).cos().abs();
        return Some(scale([1.0, 0.95, 0.7], flare));
    }
    let below = y - lamp_y;
    if below < 0.0 {
        return (aside < 0.5 && below > -1.5).then_some([0.35, 0.05, 0.05]);
    }
    let half_width = if below > 6.5 { 2.5 } else { 1.5 };
    if aside > half_width || y > SEA {
        return None;
    }
    if below > 6.5 {
        // The rock on which it stands.
        return Some([0.09, 0.08, 0.1]);
    }
    if below < 0.5 {
        // Beside the lamp there is only the glass of the lantern.
        return (aside < 1.5).then_some([0.3, 0.26, 0.16]);
    }
    let shade = 1.0 - 0.22 * (x - lamp_x + 1.0);
    let stripe: Light =
        if (below / 2.0).fract() < 0.5 { [0.62, 0.07, 0.08] } else { [0.62, 0.6, 0.58] };
    Some(scale(stripe, shade))
}

/// How much light of the beam falls on a place: a cone and, opposite, a weaker one.
fn beam(x: f64, y: f64, seconds: f64) -> f64 {
    let (lamp_x, lamp_y) = LAMP;
    let (aside, below) = (x - lamp_x, y - lamp_y);
    let distance = aside.hypot(below);
    let direction = TAU * seconds / TURN_SECONDS;
    let off = below.atan2(aside) - direction;
    let off = (off + PI).rem_euclid(TAU) - PI;
    let behind = PI - off.abs();
    // The cone opens with the distance, but is never narrower than a window.
    let width = 0.13 + 0.5 / distance.max(1.0);
    let cone = (-(off / width).powi(2)).exp() + 0.35 * (-(behind / width).powi(2)).exp();
    let halo = 0.5 * (-distance / 1.6).exp();
    cone * (-distance / 22.0).exp() + halo
}

fn add([a, b, c]: Light, [d, e, f]: Light) -> Light {
    [a + d, b + e, c + f]
}

fn scale(light: Light, factor: f64) -> Light {
    light.map(|channel| channel * factor)
}

fn coordinate(number: usize) -> f64 {
    u16::try_from(number).map_or(0.0, f64::from)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a byte holds, and there is no conversion but `as`"
)]
fn channel(light: f64) -> u8 {
    (light.clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_lit_window() -> Picture {
        let mut picture = [0; PICTURE_BYTES];
        picture[..3].copy_from_slice(&[255, 128, 0]);
        picture
    }

    #[test]
    fn a_picture_in_colour_is_half_blocks_that_name_a_colour_when_it_changes() {
        let lines = draw(&one_lit_window(), Ink::Colour);
        assert_eq!(lines.len(), STOREYS);
        let dark = "\x1b[38;2;0;0;0;48;2;0;0;0m";
        let lit = "\x1b[38;2;255;128;0;48;2;153;75;0m";
        assert_eq!(lines[0], format!("{lit}▀▀{dark}{}\x1b[0m", "▀▀".repeat(27)));
        assert_eq!(lines[1], format!("{dark}{}\x1b[0m", "▀▀".repeat(28)));
        assert_eq!(lines[13], lines[1]);
    }

    #[test]
    fn a_picture_in_letters_has_no_escape_codes() {
        let lines = draw(&one_lit_window(), Ink::Letters);
        assert_eq!(lines.len(), STOREYS);
        assert_eq!(lines[0], format!("++{}", " ".repeat(54)));
        assert_eq!(lines[1], " ".repeat(56));
        let white = draw(&[255; PICTURE_BYTES], Ink::Letters);
        assert_eq!(white[7], "@".repeat(56));
    }

    #[test]
    fn the_lighthouse_moves_from_each_picture_to_the_next() {
        for number in 0..300_u16 {
            let seconds = f64::from(number) / 60.0;
            let (here, next) = (lighthouse_at(seconds), lighthouse_at(seconds + 1.0 / 60.0));
            let changed = here.iter().zip(&next).filter(|(a, b)| a != b).count();
            assert!(changed > 50, "only {changed} bytes change at {seconds} s");
        }
    }

    #[test]
    fn the_lighthouse_is_neither_dark_nor_glaring() {
        for second in 0..10_u8 {
            let picture = lighthouse_at(f64::from(second));
            let sum: u32 = picture.iter().map(|&byte| u32::from(byte)).sum();
            let mean = sum / u32::try_from(PICTURE_BYTES).unwrap();
            assert!((20..120).contains(&mean), "mean brightness {mean} at {second} s");
            assert!(picture.iter().any(|&byte| byte > 220), "no light at {second} s");
        }
    }
}
