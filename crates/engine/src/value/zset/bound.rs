//! The ends of ranges by score and by member.

/// The end of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// This score belongs to the range.
    Included(f64),
    /// This score is the first outside.
    Excluded(f64),
}

impl Bound {
    /// Whether a score lies before the range that starts here.
    pub fn starts_after(self, score: f64) -> bool {
        match self {
            Bound::Included(min) => score < min,
            Bound::Excluded(min) => score <= min,
        }
    }

    /// Whether a score is not behind the range that ends here.
    pub fn reaches(self, score: f64) -> bool {
        match self {
            Bound::Included(max) => score <= max,
            Bound::Excluded(max) => score < max,
        }
    }
}

/// The end of a range of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LexBound {
    /// Before every member (`-`).
    Min,
    /// Behind every member (`+`).
    Max,
    /// This member belongs to the range.
    Included(Vec<u8>),
    /// This member is the first outside.
    Excluded(Vec<u8>),
}

impl LexBound {
    /// Whether a member lies before the range that starts here.
    pub fn starts_after(&self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Included(min) => member < min.as_slice(),
            LexBound::Excluded(min) => member <= min.as_slice(),
        }
    }

    /// Whether a member is not behind the range that ends here.
    pub fn reaches(&self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Included(max) => member <= max.as_slice(),
            LexBound::Excluded(max) => member < max.as_slice(),
        }
    }
}
