//! A document is the same whether it is read whole, in pieces or as a tree, and what is written back is what was read.

use heare_auth::core::{
    change::seal_secrets,
    document::Document,
    index::{Arriving, Index},
};
use serde_json::Value;

pub fn check(data: &[u8]) {
    // The first byte says how large the pieces are.
    let (&size, data) = data.split_first().unwrap_or((&0, &[]));
    let whole = Index::build(data);
    let mut arriving = Arriving::default();
    data.chunks(usize::from(size) + 1)
        .for_each(|piece| arriving.take(piece));
    let pieces = arriving.finish(|| ());
    assert_eq!(whole.as_ref().err(), pieces.as_ref().err());
    let document = Document::parse(data);
    assert_eq!(whole.as_ref().err(), document.as_ref().err());
    let (Ok(whole), Ok(pieces), Ok(mut document)) = (whole, pieces, document) else {
        return;
    };
    assert_eq!(said(&whole), said(&pieces));
    assert_eq!(whole.keys_count() + whole.bad_records_count(), document.records().len());
    assert_eq!(whole.generation(), document.generation());
    same_tree(data, &document.to_json());
    seal_secrets(&mut document);
    let sealed = Index::build(&document.to_json()).expect("a document stays one");
    assert_eq!(sealed.keys_count(), whole.keys_count());
    assert_eq!(sealed.plaintext_count(), 0);
}

fn said(index: &Index) -> (usize, usize, usize, Option<u64>, Option<&str>) {
    let (keys, bad, plain) = (index.keys_count(), index.bad_records_count(), index.plaintext_count());
    (keys, bad, plain, index.generation(), index.write_id())
}

/// Where both can be held as a tree.
fn same_tree(read: &[u8], written: &[u8]) {
    let [read, written] = [read, written].map(|json| serde_json::from_slice::<Value>(json).ok());
    if let (Some(read), Some(written)) = (read, written) {
        assert_eq!(read, written);
    }
}
