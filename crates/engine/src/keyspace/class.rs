//! What a keyspace promises: how it is kept, and whether it may evict.

/// What of a keyspace reaches the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every unit, in order.
    #[default]
    Every,
    /// The latest value of each key that changed, once a commit tick: for state
    /// that is not worth its history, such as rate limits.
    Latest,
    /// Nothing: for what can be made again.
    None,
}

/// The class of a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// What is kept.
    pub durability: Durability,
    /// Whether `maxmemory-policy` applies; else writes are refused at the limit.
    pub evictable: bool,
}

impl Default for Class {
    /// What a Redis database is: kept, and evicted if the policy says so.
    fn default() -> Self {
        Class {
            durability: Durability::Every,
            evictable: true,
        }
    }
}

impl Class {
    /// The byte that stands for it on disk.
    pub fn to_byte(self) -> u8 {
        let durability = match self.durability {
            Durability::Every => 0,
            Durability::None => 1,
            Durability::Latest => 2,
        };
        durability | (u8::from(self.evictable) << 2)
    }

    /// The class that this byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let durability = match byte & 3 {
            0 => Durability::Every,
            1 => Durability::None,
            2 => Durability::Latest,
            _ => return None,
        };
        (byte < 8).then_some(Class {
            durability,
            evictable: byte & 4 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_one_class_or_none() {
        let known: Vec<u8> = (0..=u8::MAX)
            .filter(|byte| Class::from_byte(*byte).is_some_and(|class| class.to_byte() == *byte))
            .collect();
        assert_eq!(known, [0, 1, 2, 4, 5, 6]);
    }
}
