//! Medians, quartiles, percentiles.

/// Median and quartiles of one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) lower: f64,
    pub(super) median: f64,
    pub(super) upper: f64,
    pub(super) samples: usize,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share| percentile(&values, share);
        Self { lower: at(0.25), median: at(0.5), upper: at(0.75), samples: values.len() }
    }
}

/// The value below which so many of the sorted values lie, between two of them by a straight line.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the list"
    )]
    let below = place.floor() as usize;
    let low = sorted.get(below).copied().unwrap_or_default();
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * (place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_where_they_should() {
        let check = |values: &[f64], expected: (f64, f64, f64)| {
            let spread = Spread::of(values.to_vec());
            assert_eq!((spread.lower, spread.median, spread.upper), expected, "{values:?}");
        };
        check(&[], (0.0, 0.0, 0.0));
        check(&[3.0], (3.0, 3.0, 3.0));
        check(&[4.0, 2.0, 3.0, 1.0, 5.0], (2.0, 3.0, 4.0));
        check(&[2.0, 1.0], (1.25, 1.5, 1.75));
    }
}
