//! Distances on a sphere, term by term as in Redis, so that embedded regions answer the same digits.

use super::Position;

/// Redis's radius of Earth, in metres.
const RADIUS: f64 = 6_372_797.560_856;

/// Not `to_radians`, whose constant is rounded another way.
fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

/// The great-circle distance in metres, by the haversine formula.
pub(crate) fn metres(a: Position, b: Position) -> f64 {
    let v = ((radians(b.longitude) - radians(a.longitude)) / 2.0).sin();
    if v == 0.0 {
        return metres_north(a.latitude, b.latitude);
    }
    let (from, to) = (radians(a.latitude), radians(b.latitude));
    let u = ((to - from) / 2.0).sin();
    #[allow(clippy::suboptimal_flops, reason = "a fused step rounds once where Redis rounds twice")]
    let h = u * u + from.cos() * to.cos() * v * v;
    2.0 * RADIUS * h.sqrt().asin()
}

/// Along a meridian.
pub(super) fn metres_north(from: f64, to: f64) -> f64 {
    RADIUS * (radians(to) - radians(from)).abs()
}
