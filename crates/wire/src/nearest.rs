//! The nearest known name to one that is not known, for texts of refusals.

/// A long name is none that was mistyped, and comparing it would cost.
const NAME_BYTES_MAX: usize = 64;

/// `, the nearest known is 'x'`, or nothing.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .filter(|_| name.len() <= NAME_BYTES_MAX)
        .min_by_key(|known| distance(&name.to_lowercase(), &known.to_lowercase()));
    nearest.map(|n| format!(", the nearest known is '{n}'")).unwrap_or_default()
}

/// How many characters must be put in, taken out or replaced to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (to, above) in b.chars().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(from != to));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
