use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::*;

fn open(text: &[u8]) -> Rows<&[u8]> {
    Rows::open("test.csv", text).expect("a header")
}

fn items(text: &[u8]) -> Vec<Item> {
    let mut rows = open(text);
    std::iter::from_fn(|| rows.next_item().expect("readable")).collect()
}

/// (line, what) of each item: the cells joined by `|`, or the reason.
fn told(text: &[u8]) -> Vec<(u64, String)> {
    let describe = |item| match item {
        Item::Record(record) => (record.line, record.cells.iter().collect::<Vec<_>>().join("|")),
        Item::Fault(fault) => (fault.line, fault.reason),
    };
    items(text).into_iter().map(describe).collect()
}

fn line(number: u64, what: &str) -> (u64, String) {
    (number, what.to_owned())
}

#[test]
fn the_delimiter_is_read_off_the_header() {
    for (text, expected) in [
        (&b"a,b;c,d\n1,2;3,4\n"[..], b','),
        (b"a;b\n1;2\n", b';'),
        (b"a\tb\n1\t2\n", b'\t'),
        (b"\"a;b;c\",d\n1,2\n", b','),
        (b"a\n1\n", b','),
    ] {
        assert_eq!(open(text).delimiter(), expected);
    }
}

#[test]
fn a_byte_order_mark_and_crlf_are_no_part_of_the_cells() {
    let text = b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4";
    assert_eq!(open(text).header().get(0), Some("a"));
    assert_eq!(told(text), [line(2, "1|2"), line(3, "3|4")]);
}

#[test]
fn a_record_may_span_lines_inside_quotes() {
    let text = b"a,b\n1,\"x\r\ny \"\"z\"\"\"\n2,3\n";
    assert_eq!(told(text), [line(2, "1|x\r\ny \"z\""), line(4, "2|3")]);
}

#[test]
fn a_quote_that_never_closes_costs_its_own_line_only() {
    let text = b"a,b\n1,\"x\n2,y\n3,z\n";
    assert_eq!(told(text), [line(2, "unclosed_quote"), line(3, "2|y"), line(4, "3|z")]);
}

#[test]
fn text_after_a_closing_quote_is_refused_and_not_repaired() {
    let text = b"a,b\n1,\"x\"y\n2,\"x\" \n\"3\"\"\",\"x\"\r\n\"4\n\"y,\"z\"\n5,x\"y\"\n6,\"\"\n";
    assert_eq!(
        told(text),
        [
            line(2, "broken_quote"),
            line(3, "broken_quote"),
            line(4, "3\"|x"),
            line(5, "broken_quote"),
            line(7, "5|x\"y\""),
            line(8, "6|"),
        ]
    );
    let Some(Item::Fault(fault)) = items(b"a,b\n\"1,2\",\"x\"y\n").pop() else { panic!("a fault") };
    assert_eq!((fault.line, fault.lines, fault.field.as_str()), (2, 1, "b"));
    assert!(fault.message.contains("double a quote"), "{}", fault.message);
}

#[test]
fn a_quote_may_not_stay_open_for_more_than_a_hundred_lines() {
    let mut text = b"a,b\n1,\"x\n".to_vec();
    text.extend(b"2,y\n".repeat(100));
    text.extend(b"3,z\"\n");
    let told = told(&text);
    assert_eq!(told.first(), Some(&line(2, "unclosed_quote")));
    assert_eq!(told.len(), 102);
}

#[test]
fn a_quote_may_not_stay_open_for_more_than_64_kib() {
    let mut text = b"a,b\n1,\"x\n".to_vec();
    text.extend([b"2,".to_vec(), vec![b'y'; 70_000], b"\n\"\n".to_vec()].concat());
    assert_eq!(told(&text)[0], line(2, "unclosed_quote"));
    assert_eq!(told(&text).len(), 3);
}

#[test]
fn a_wrong_number_of_columns_is_named_with_both_numbers() {
    let Some(Item::Fault(fault)) = items(b"a,b,c\n1,2\n").pop() else { panic!("a fault") };
    assert_eq!(fault.reason, "wrong_column_count");
    assert!(fault.message.contains("expected 3") && fault.message.contains("found 2"));
    assert_eq!(fault.cells, vec!["1", "2", ""]);
}

#[test]
fn bytes_that_are_not_utf_8_name_their_column() {
    let Some(Item::Fault(fault)) = items(b"a,name\n1,Zo\xeb\n").pop() else { panic!("a fault") };
    assert_eq!((fault.reason.as_str(), fault.field.as_str()), ("invalid_utf8", "name"));
}

#[test]
fn a_line_of_ten_megabytes_is_refused_in_little_memory() {
    let long = b"x".chain(std::io::repeat(b'y').take(10 * 1024 * 1024));
    let text = b"a,b\n1,2\n".chain(long).chain(&b"\n3,4\n"[..]);
    let mut rows = Rows::open("test.csv", BufReader::new(text)).expect("a header");
    let mut seen = Vec::new();
    while let Some(item) = rows.next_item().expect("readable") {
        seen.push(match item {
            Item::Record(record) => record.line.to_string(),
            Item::Fault(fault) => {
                assert!(fault.cells.iter().map(str::len).sum::<usize>() <= 1024);
                fault.reason
            }
        });
    }
    assert_eq!(seen, ["2", "line_too_long", "4"]);
}

#[test]
fn blank_lines_are_passed_over_and_counted() {
    let mut rows = open(b"\n\r\na,b\n\n1,2\n\r\n\n");
    assert!(matches!(rows.next_item(), Ok(Some(Item::Record(record))) if record.line == 5));
    assert!(matches!(rows.next_item(), Ok(None)));
    assert_eq!(rows.blank_lines(), 5);
}

#[test]
fn files_that_are_no_csv_are_named_for_what_they_are() {
    let refused = |text: &[u8]| Rows::open("f.csv", text).err().expect("refused").to_string();
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"\n\n").contains("empty"));
    assert!(refused(b"\xff\xfea\0,\0b\0\n\0").contains("looks like UTF-16"));
    assert!(refused(b"a\0,\0b\0\n\0").contains("byte 2 is NUL"));
    assert!(refused(b"\x1f\x8b\x08\0").contains("an archive"));
    assert!(refused(b"PK\x03\x04abc").contains("spreadsheet"));
    assert!(refused(b"a,b\r1,2\r").contains("CR alone"));
    assert!(refused(b"a,\"b\n1,2\n").contains("never closes"));
    assert!(refused(&vec![b'x'; 3 * 1024 * 1024]).contains("1 MiB"));
    assert!(refused(b"\xef\xbb\xbfsep=;\r\na;b\r\n").contains("f.csv:1: 'sep=;'"));
    assert!(refused(b"sep=,\na,b\n").contains("remove the line `sep=,`"));
    assert!(refused(b"sep=\t\na\tb\n").contains("remove the line `sep=\\t`"));
}

/// Text of the letters that matter to the splitter.
fn csv_like() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![
        4 => Just(b'a'), 3 => Just(b'"'), 3 => Just(b','), 2 => Just(b'\n'), 1 => Just(b'\r'),
        1 => any::<u8>(),
    ];
    prop::collection::vec(letter, 0..400)
}

fn physical_lines(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    ends + u64::from(text.last().is_some_and(|byte| *byte != b'\n'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_line_is_accounted_for_exactly_once(text in csv_like()) {
        let whole = [b"a,b\n", text.as_slice()].concat();
        let mut rows = open(&whole);
        let mut next = 2;
        let mut lines = 1;
        while let Some(item) = rows.next_item().expect("readable") {
            let (line, span) = match &item {
                Item::Record(record) => (record.line, record.lines),
                Item::Fault(fault) => (fault.line, fault.lines),
            };
            prop_assert!(line >= next, "line {} comes again", line);
            next = line + span;
            lines += span;
        }
        prop_assert_eq!(lines + rows.blank_lines(), physical_lines(&whole));
        prop_assert_eq!(rows.bytes(), whole.len() as u64);
    }

    #[test]
    fn whatever_the_csv_crate_writes_is_read_back(
        cells in prop::collection::vec(prop::collection::vec("[a\",;\n\r é]{0,6}", 2..=2), 1..20)
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["a", "b"]).expect("written");
        for row in &cells {
            writer.write_record(row).expect("written");
        }
        let text = writer.into_inner().expect("flushed");
        let read: Vec<Vec<String>> = items(&text)
            .into_iter()
            .map(|item| match item {
                Item::Record(record) => record.cells.iter().map(str::to_owned).collect(),
                Item::Fault(fault) => vec![fault.reason],
            })
            .collect();
        prop_assert_eq!(read, cells);
    }
}
