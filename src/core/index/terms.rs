//! The terms of all keys of an index, each kept once however many keys have them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::text::Rules;
use crate::core::{
    policy::{Policy, Terms},
    scope,
};

#[derive(Default)]
pub struct AllTerms {
    all: Vec<Kept>,
}

struct Kept {
    terms: Terms,
    /// The members that they add to a good key's answer: JSON, each with a comma in front.
    answer: Box<str>,
}

impl AllTerms {
    pub fn policy<'a>(&'a self, rules: &Rules<'a>) -> Policy<'a> {
        let kept = &self.all[rules.terms as usize];
        Policy {
            user_id: rules.user_id,
            key_prefix: rules.key_prefix,
            terms: &kept.terms,
            answer: &kept.answer,
        }
    }

    pub fn shrink_to_fit(&mut self) {
        self.all.shrink_to_fit();
    }

    pub fn resident_bytes(&self) -> usize {
        let behind: usize = self.all.iter().map(Kept::heap_bytes).sum();
        self.all.capacity() * size_of::<Kept>() + behind
    }
}

impl Kept {
    fn new(terms: Terms) -> Self {
        let environment = terms.environment.map_or_else(String::new, |environment| {
            format!(r#","environment":"{}""#, environment.word())
        });
        let scopes = if terms.scopes.is_empty() {
            String::new()
        } else {
            format!(r#","scopes":{}"#, scope::json_list(&terms.scopes))
        };
        Self {
            terms,
            answer: (environment + &scopes).into(),
        }
    }

    fn heap_bytes(&self) -> usize {
        let Terms {
            environment: _,
            allowed_ips,
            scopes,
            limits,
        } = &self.terms;
        let texts = scopes.iter().map(|scope| scope.as_str().len()).sum::<usize>();
        let names = limits.iter().map(|limit| limit.name.len()).sum::<usize>();
        let lists = size_of_val(&**scopes) + size_of_val(&**limits) + allowed_ips.heap_bytes();
        self.answer.len() + texts + names + lists
    }
}

/// Remembers which terms were seen while an index is built.
#[derive(Default)]
pub struct SeenTerms {
    table: HashTable<(u64, u32)>,
}

impl SeenTerms {
    /// The number of these terms.
    pub fn intern(&mut self, all: &mut AllTerms, terms: Terms) -> u32 {
        let mut hasher = DefaultHasher::new();
        terms.hash(&mut hasher);
        let hash = hasher.finish();
        let same = |&(_, number): &(u64, u32)| all.all[number as usize].terms == terms;
        match self.table.entry(hash, same, |&(seen, _)| seen) {
            Entry::Occupied(seen) => seen.get().1,
            Entry::Vacant(free) => {
                let number = u32::try_from(all.all.len()).expect("there are no more terms than records");
                all.all.push(Kept::new(terms));
                free.insert((hash, number));
                number
            }
        }
    }
}
