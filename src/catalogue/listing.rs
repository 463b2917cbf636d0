//! All records of one version of the document, the newest first, found by id or page by page.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use super::{
    record::{Record, Status},
    search::{Order, Search},
};
use crate::core::{
    document::Document,
    index::Index,
    key::{Defect, Key},
    time::Timestamp,
};

#[derive(Default)]
pub struct Listing {
    records: Vec<Placed>,
    /// To the first record with that id; where several have it, all are defective.
    by_id: HashMap<Arc<str>, u32>,
}

/// A record and its place in the document, where new ones stand behind older ones.
struct Placed {
    position: u32,
    record: Record,
}

/// Which records a reader may or wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `None` for everybody's.
    pub owner: Option<String>,
    pub good_only: bool,
}

/// Where a page begins: behind this record, whether that is still there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    pub created_at: Timestamp,
    pub position: u32,
    pub id: String,
}

pub struct Page<'a> {
    pub records: Vec<&'a Record>,
    pub total: usize,
    /// `None` on the last page.
    pub next: Option<After>,
}

impl Listing {
    /// `index` is the same document's: only there is it known which records deny each other.
    pub fn new(document: &Document, index: &Index) -> Self {
        let defects: HashMap<usize, Defect> = index
            .bad_records()
            .iter()
            .map(|bad| (bad.position, bad.defect))
            .collect();
        let mut records = Vec::with_capacity(document.records().len());
        for (position, raw) in document.records().enumerate() {
            let is_denied = Key::read(raw).is_ok_and(|key| index.find(&key.digest).is_none());
            let duplicate = || defects.get(&position).copied().unwrap_or(Defect::DuplicateId);
            if let Some(record) = Record::read(raw, is_denied.then(duplicate)) {
                let position = u32::try_from(position).expect("a document has fewer bytes than that");
                records.push(Placed { position, record });
            }
        }
        records.sort_unstable_by_key(|placed| Reverse(placed.age()));
        let mut by_id = HashMap::with_capacity(records.len());
        for (number, placed) in (0..).zip(&records) {
            by_id.entry(Arc::from(placed.record.id.as_str())).or_insert(number);
        }
        Self { records, by_id }
    }

    pub fn find(&self, id: &str) -> Option<&Record> {
        self.by_id.get(id).map(|&number| &self.records[number as usize].record)
    }

    /// The ids of those that nobody has revoked yet.
    pub fn unrevoked(&self, filter: &Filter) -> Vec<String> {
        let records = self.records.iter().map(|placed| &placed.record);
        let unrevoked = records.filter(|record| filter.sees(record) && !record.revoked);
        unrevoked.map(|record| record.id.clone()).collect()
    }

    /// Those that the filter sees, newest first.
    pub fn records(&self, filter: &Filter) -> impl Iterator<Item = &Record> {
        let records = self.records.iter().map(|placed| &placed.record);
        records.filter(|record| filter.sees(record))
    }

    pub fn ids(&self, filter: &Filter) -> Vec<String> {
        self.records(filter).map(|record| record.id.clone()).collect()
    }

    pub fn page(&self, filter: &Filter, after: Option<&After>, limit: usize, now: Timestamp) -> Page<'_> {
        let wanted = |placed: &&Placed| filter.wants(&placed.record, now);
        let total = if filter.wants_all() {
            self.records.len()
        } else {
            self.records.iter().filter(wanted).count()
        };
        let begin = after.map_or(0, |after| self.behind(after));
        let mut rest = self.records[begin..].iter().filter(wanted).peekable();
        let page: Vec<&Placed> = rest.by_ref().take(limit).collect();
        let next = rest.peek().and(page.last()).map(|last| last.mark());
        Page {
            records: page.into_iter().map(|placed| &placed.record).collect(),
            total,
            next,
        }
    }

    /// As `page`, of those alone that are looked for, in the order that is wished for.
    pub fn found(
        &self,
        filter: &Filter,
        search: &Search,
        after: Option<&After>,
        limit: usize,
        now: Timestamp,
    ) -> Page<'_> {
        let wanted = |placed: &&Placed| filter.wants(&placed.record, now) && search.finds(&placed.record, now);
        let mut found: Vec<&Placed> = self.records.iter().filter(wanted).collect();
        search.order.apply(&mut found, |placed| &placed.record);
        let begin = after.map_or(0, |after| begin(&found, search.order, after));
        let end = found.len().min(begin + limit);
        let page = &found[begin..end];
        Page {
            records: page.iter().map(|placed| &placed.record).collect(),
            total: found.len(),
            next: page.last().filter(|_| end < found.len()).map(|last| last.mark()),
        }
    }

    /// The number of the first record behind the mark. The marked one is looked for first, as deletions move all places;
    /// where it is gone itself nothing is skipped, and at worst something is seen again.
    fn behind(&self, after: &After) -> usize {
        let marked = self.by_id.get(after.id.as_str()).map(|&number| number as usize);
        if let Some(number) = marked.filter(|&number| self.records[number].record.created_at == after.created_at) {
            return number + 1;
        }
        let mark = (after.created_at, after.position);
        self.records.partition_point(|placed| placed.age() >= mark)
    }
}

/// Behind the marked record. Where that is gone, or is looked for no more, its age still tells where it would stand; an
/// order that has nothing to do with age begins anew.
fn begin(found: &[&Placed], order: Order, after: &After) -> usize {
    if let Some(marked) = found.iter().position(|placed| placed.record.id == after.id) {
        return marked + 1;
    }
    let mark = (after.created_at, after.position);
    match order {
        Order::NewestFirst => found.partition_point(|placed| placed.age() >= mark),
        Order::OldestFirst => found.partition_point(|placed| placed.age() <= mark),
        Order::ByName | Order::ByNameBackwards | Order::ExpiringFirst | Order::ExpiringLast => 0,
    }
}

impl Placed {
    fn age(&self) -> (Timestamp, u32) {
        (self.record.created_at, self.position)
    }

    fn mark(&self) -> After {
        After {
            created_at: self.record.created_at,
            position: self.position,
            id: self.record.id.clone(),
        }
    }
}

impl Filter {
    fn wants(&self, record: &Record, now: Timestamp) -> bool {
        self.sees(record) && (!self.good_only || record.status(now) == Status::Good)
    }

    pub fn sees(&self, record: &Record) -> bool {
        self.owner.is_none() || self.owner == record.owner
    }

    const fn wants_all(&self) -> bool {
        self.owner.is_none() && !self.good_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::search::Needle;

    const NOW: Timestamp = Timestamp::from_millis(1_705_746_600_000);

    /// Ids with the second at which they were made and their owner.
    fn listing(records: &[(&str, u32, &str)]) -> Listing {
        let record = |(id, second, owner): &(&str, u32, &str)| {
            format!(
                r#"{{"id":"{id}","secret":"s{id}","name":"n","created_at":"2024-01-01T00:00:{second:02}Z","user_id":"{owner}"}}"#
            )
        };
        let records: Vec<String> = records.iter().map(record).collect();
        let json = format!(r#"{{"keys":[{}]}}"#, records.join(","));
        Listing::new(
            &Document::parse(json.as_bytes()).unwrap(),
            &Index::build(json.as_bytes()).unwrap(),
        )
    }

    fn ids(page: &Page<'_>) -> String {
        page.records.iter().map(|record| record.id.as_str()).collect()
    }

    /// The ids of all pages, and the document from which each further page is taken.
    fn pages(first: &Listing, then: &Listing, filter: &Filter) -> Vec<String> {
        let mut page = first.page(filter, None, 2, NOW);
        let mut seen = vec![ids(&page)];
        while let Some(after) = page.next {
            page = then.page(filter, Some(&after), 2, NOW);
            seen.push(ids(&page));
        }
        seen
    }

    const FIVE: [(&str, u32, &str); 5] = [
        ("a", 1, "u"),
        ("b", 2, "v"),
        ("c", 2, "u"),
        ("d", 2, "u"),
        ("e", 0, "v"),
    ];

    #[test]
    fn the_newest_come_first_and_of_one_second_the_last() {
        let five = listing(&FIVE);
        assert_eq!(pages(&five, &five, &Filter::default()), ["dc", "ba", "e"]);
        assert_eq!(five.page(&Filter::default(), None, 2, NOW).total, 5);
    }

    #[test]
    fn a_key_that_is_made_between_two_pages_changes_none_of_them() {
        let more: Vec<_> = FIVE.into_iter().chain([("f", 2, "u"), ("g", 9, "u")]).collect();
        assert_eq!(
            pages(&listing(&FIVE), &listing(&more), &Filter::default()),
            ["dc", "ba", "e"]
        );
    }

    #[test]
    fn a_key_that_is_deleted_between_two_pages_hides_no_other() {
        for gone in ["a", "b", "c", "d"] {
            let fewer: Vec<_> = FIVE.into_iter().filter(|(id, ..)| *id != gone).collect();
            let seen = pages(&listing(&FIVE), &listing(&fewer), &Filter::default()).concat();
            for (id, ..) in fewer {
                assert!(seen.contains(id), "{gone} gone, {id} in {seen}");
            }
        }
    }

    #[test]
    fn an_owner_sees_their_own_and_their_own_total() {
        let filter = Filter {
            owner: Some("u".to_owned()),
            good_only: false,
        };
        let five = listing(&FIVE);
        assert_eq!(pages(&five, &five, &filter), ["dc", "a"]);
        assert_eq!(five.page(&filter, None, 2, NOW).total, 3);
    }

    fn search(order: Order, text: &str) -> Search {
        Search {
            order,
            text: Needle::new(text),
            ..Search::default()
        }
    }

    /// The ids of all pages of two, and the document from which each further page is taken.
    fn found(first: &Listing, then: &Listing, search: &Search) -> Vec<String> {
        let filter = Filter::default();
        let mut page = first.found(&filter, search, None, 2, NOW);
        let mut seen = vec![ids(&page)];
        while let Some(after) = page.next {
            page = then.found(&filter, search, Some(&after), 2, NOW);
            seen.push(ids(&page));
        }
        seen
    }

    #[test]
    fn records_come_in_the_order_that_is_wished_for() {
        let named = |id: &str, name: &str, expires: &str| {
            format!(
                r#"{{"id":"{id}","secret":"s{id}","name":"{name}","created_at":"2024-01-01T00:00:00Z","expires_at":{expires}}}"#
            )
        };
        let records = [
            named("a", "beta", "\"2030-01-01\""),
            named("b", "Alpha", "null"),
            named("c", "gamma", "\"2029-01-01\""),
        ];
        let json = format!(r#"{{"keys":[{}]}}"#, records.join(","));
        let listing = Listing::new(
            &Document::parse(json.as_bytes()).unwrap(),
            &Index::build(json.as_bytes()).unwrap(),
        );
        for (word, expected) in [
            ("-created", ["cb", "a"]),
            ("created", ["ab", "c"]),
            ("name", ["ba", "c"]),
            ("-name", ["ca", "b"]),
            ("expires", ["ca", "b"]),
            ("-expires", ["ba", "c"]),
        ] {
            let order = word.parse().unwrap();
            assert_eq!(found(&listing, &listing, &search(order, "")), expected, "{word}");
        }
        assert_eq!("age".parse::<Order>(), Err(()));
    }

    #[test]
    fn a_search_looks_into_names_ids_and_owners_whatever_the_case() {
        let listing = listing(&[("key_Ab", 1, "Uwe"), ("key_b", 2, "ada"), ("key_c", 3, "uwe")]);
        for (text, count) in [
            ("KEY_A", 1),
            ("uwe", 2),
            ("key_", 3),
            ("N", 3),
            ("ada", 1),
            ("nobody", 0),
        ] {
            let page = listing.found(&Filter::default(), &search(Order::default(), text), None, 9, NOW);
            assert_eq!((page.records.len(), page.total), (count, count), "{text}");
        }
        assert_eq!(Needle::new(&"x".repeat(101)), None);
    }

    #[test]
    fn what_is_deleted_between_two_pages_of_a_search_hides_nothing() {
        for gone in ["a", "b", "c", "d"] {
            let fewer: Vec<_> = FIVE.into_iter().filter(|(id, ..)| *id != gone).collect();
            for order in [Order::NewestFirst, Order::OldestFirst, Order::ByName] {
                let seen = found(&listing(&FIVE), &listing(&fewer), &search(order, "")).concat();
                for (id, ..) in &fewer {
                    assert!(seen.contains(id), "{gone} gone, {id} in {seen}, {order:?}");
                }
            }
        }
    }

    #[test]
    fn records_that_share_an_id_are_both_defective() {
        let twins = listing(&[("a", 1, "u"), ("a", 2, "u"), ("b", 3, "u")]);
        assert_eq!(twins.find("a").unwrap().status(NOW), Status::Defective);
        assert_eq!(twins.find("b").unwrap().status(NOW), Status::Good);
    }
}
