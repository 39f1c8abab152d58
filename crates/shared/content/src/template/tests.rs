#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

struct Known(BTreeMap<Variable, String>);

impl Values for Known {
    fn value(&self, variable: &Variable) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }
}

fn known<const N: usize>(values: [(Variable, &str); N]) -> Known {
    Known(values.into_iter().map(|(variable, value)| (variable, value.to_owned())).collect())
}

fn city() -> Variable {
    Variable::Attribute("city".to_owned())
}

fn ann() -> Known {
    known([
        (Variable::UserName, "Ann"),
        (Variable::Points, "1,200"),
        (Variable::LastName, ""),
        (city(), "Kraków"),
    ])
}

#[track_caller]
fn renders(text: &str, expected: &str) {
    assert_eq!(Template::parse(text).unwrap().render(&ann(), Escape::None), expected);
}

#[track_caller]
fn refused(text: &str, expected: TemplateError) {
    assert_eq!(Template::parse(text), Err(expected));
}

fn unknown(name: &str, column: usize, nearest: Option<&str>) -> TemplateError {
    TemplateError::Unknown { name: name.to_owned(), column, nearest: nearest.map(str::to_owned) }
}

fn unclosed(name: &str, column: usize, found: Option<char>) -> TemplateError {
    TemplateError::Unclosed { name: name.to_owned(), column, found }
}

#[test]
fn variables_take_their_values() {
    // The campaign file of the design document.
    renders(
        "Hi {UserName|friend}, 25 % off hot drinks today.",
        "Hi Ann, 25 % off hot drinks today.",
    );
    renders("{UserName}: {Points} in {attr.city|your city}", "Ann: 1,200 in Kraków");
    renders("", "");
}

#[test]
fn a_missing_or_empty_value_gives_the_fallback_or_nothing() {
    renders("Hi {FirstName|friend}!", "Hi friend!");
    renders("Hi {LastName|friend}!", "Hi friend!");
    renders("Hi {FirstName}!", "Hi !");
    renders("Hi {FirstName|}!", "Hi !");
    renders("{FirstName| dear | friend\n…}", " dear | friend\n…");
}

#[test]
fn other_braces_are_literal() {
    for text in [
        "a{color:red} @media x{p{margin:0;}}",
        "{} { } {{}} }{",
        "{",
        "}",
        "{{",
        "ends {",
        "{ UserName }",
        "{12} {-x} {_y} {.z}",
        "if (a) {b = {}",
        "{UserNames ",
        "{Foo",
        "{Foo.bar baz}",
        "{username ",
    ] {
        let template = Template::parse(text).unwrap();
        assert!(template.variables().is_empty(), "{text}");
        assert_eq!(template.render(&ann(), Escape::Html), text);
    }
    renders("{{UserName}}", "{Ann}");
    renders("{{{UserName|x}}}", "{{Ann}}");
    renders("{a{UserName}b}", "{aAnnb}");
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    refused("{Foo}", unknown("Foo", 1, None));
    refused("é€ {Foo|x}", unknown("Foo", 4, None));
    refused("{username}", unknown("username", 1, Some("UserName")));
    refused("{Usrename}", unknown("Usrename", 1, Some("UserName")));
    refused("{first_name|x}", unknown("first_name", 1, Some("FirstName")));
    refused("{Organization}", unknown("Organization", 1, Some("Organisation")));
    refused("{unsubscribe_url}", unknown("unsubscribe_url", 1, Some("UnsubscribeUrl")));
    refused("{Point}", unknown("Point", 1, Some("Points")));
    refused("{Name}", unknown("Name", 1, None));
    refused("{Attr.city}", unknown("Attr.city", 1, Some("attr.city")));
    refused("{attribute.city}", unknown("attribute.city", 1, Some("attr.city")));
    refused("{user.name}", unknown("user.name", 1, None));
    refused("{Имя}", unknown("Имя", 1, None));
    // The е is Cyrillic.
    refused("{Usеr_Name}", unknown("Usеr_Name", 1, Some("UserName")));
}

#[test]
fn attribute_names_are_checked() {
    let longest = "a".repeat(40);
    let template = Template::parse(&format!("{{attr.{longest}}}{{attr.-_9|x}}")).unwrap();
    let expected = [Variable::Attribute(longest.clone()), Variable::Attribute("-_9".into())];
    assert_eq!(template.variables(), BTreeSet::from(expected));
    for name in ["attr.", "attr.größe", "attr.a.b", &format!("attr.{longest}a")] {
        let column = 3;
        let name = name.to_owned();
        refused(&format!("a {{{name}|x}}"), TemplateError::InvalidAttribute { name, column });
    }
}

#[test]
fn names_of_later_versions_are_refused_as_such() {
    for name in ["CouponCode", "FeedbackUrl"] {
        let expected = TemplateError::NotAvailable { name: name.to_owned(), column: 2 };
        refused(&format!(".{{{name}}}"), expected.clone());
        refused(&format!(".{{{}|x}}", name.to_lowercase()), expected);
    }
}

#[test]
fn only_the_unsubscribe_link_is_made_at_send() {
    let template =
        Template::parse("{FirstName}{UnsubscribeUrl|none}{attr.UnsubscribeUrl}").unwrap();
    let variables = template.variables();
    let made: Vec<&Variable> = variables.iter().filter(|it| it.is_made_at_send()).collect();
    assert_eq!(made, [&Variable::UnsubscribeUrl]);
    assert_eq!(Variable::named("UnsubscribeUrl"), Some(Variable::UnsubscribeUrl));
}

#[test]
fn what_is_not_closed_is_refused() {
    refused("Hi {UserName", unclosed("UserName", 4, None));
    refused("Hi {UserName, hello", unclosed("UserName", 4, Some(',')));
    refused("Hi {UserName. Welcome}", unclosed("UserName", 4, Some('.')));
    refused("Hi {UserName |x}", unclosed("UserName", 4, Some(' ')));
    refused("{UserNameさん", unclosed("UserName", 1, Some('さ')));
    refused("{attr.city, hi", unclosed("attr.city", 1, Some(',')));
    refused("{CouponCode!", unclosed("CouponCode", 1, Some('!')));
    refused("é {UserName|friend", unclosed("UserName", 3, None));
    refused("{Anything|friend", unclosed("Anything", 1, None));
    refused("{UserName|my {FirstName}}", unclosed("UserName", 1, Some('{')));
}

#[test]
fn errors_say_where_and_what_to_do() {
    let message = |text: &str| Template::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("Hi {username}"),
        "`{username}` at character 4 is not a variable; did you mean `{UserName}`?"
    );
    assert_eq!(
        message("{Foo}"),
        "`{Foo}` at character 1 is not a variable; \
         use UserName, FirstName, LastName, Points, Birthday, Organisation, UnsubscribeUrl or attr.<name>"
    );
    assert_eq!(
        message("{CouponCode}"),
        "`{CouponCode}` at character 1 is not available in this version of Carillon; leave it out"
    );
    assert_eq!(
        message("{attr.größe}"),
        "`{attr.größe}` at character 1 does not name an attribute: \
         after `attr.` come 1 to 40 letters (A-Z, a-z), digits, `_` or `-`"
    );
    assert_eq!(
        message("{UserName\u{200B}}"),
        "the variable opened by `{UserName` at character 1 is not closed: '\\u{200b}' comes before its `}`"
    );
    assert_eq!(
        message("{UserName|you"),
        "the variable opened by `{UserName` at character 1 is not closed: the text ends before its `}`"
    );
    assert!(message(&format!("{{{}}}", "ж".repeat(100_000))).len() < 300);
}

#[test]
fn variables_are_shown_as_they_are_written() {
    let text = "{UserName}{FirstName}{LastName}{Points}{Birthday}{Organisation}{UnsubscribeUrl}\
                {attr.city}{UserName|x}";
    let variables = Template::parse(text).unwrap().variables();
    let shown: String = variables.iter().map(|variable| format!("{{{variable}}}")).collect();
    assert_eq!(format!("{shown}{{UserName|x}}"), text);
}

#[test]
fn values_are_not_evaluated_again() {
    let template = Template::parse("{UserName} {FirstName|none}").unwrap();
    let values = known([(Variable::UserName, "{FirstName}"), (Variable::FirstName, "{{7*7}}")]);
    assert_eq!(template.render(&values, Escape::None), "{FirstName} {{7*7}}");
}

#[test]
fn html_escapes_values_and_fallbacks_but_not_the_text() {
    let template = Template::parse("<b title='{LastName|\"R&D\"}'>{UserName}</b> &amp;").unwrap();
    let values = known([(Variable::UserName, "<script>'é&amp;\"</script>")]);
    assert_eq!(
        template.render(&values, Escape::Html),
        "<b title='&quot;R&amp;D&quot;'>&lt;script&gt;&#39;é&amp;amp;&quot;&lt;/script&gt;</b> &amp;"
    );
}

#[test]
fn rendering_appends_and_reuses_the_buffer() {
    let template = Template::parse("Hi {UserName|friend}").unwrap();
    let mut out = String::from("> ");
    template.render_into(&mut out, &ann(), Escape::None);
    assert_eq!(out, "> Hi Ann");
    let (place, capacity) = (out.as_ptr(), out.capacity());
    for _ in 0..3 {
        out.clear();
        template.render_into(&mut out, &ann(), Escape::Html);
        assert_eq!((out.as_str(), out.as_ptr(), out.capacity()), ("Hi Ann", place, capacity));
    }
}

/// Texts made of what the parser looks at, besides any text at all.
fn any_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "|",
            "{UserName",
            "UserName}",
            "{attr.",
            "{attr.city}",
            "{Foo",
            "{Points|",
            ".",
            "-",
            "é",
            " "
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

fn any_value() -> impl Strategy<Value = String> {
    let character =
        prop_oneof![prop::sample::select("{}|<>&\"'7*".chars().collect::<Vec<_>>()), any::<char>()];
    prop::collection::vec(character, 1..30).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_parsed_or_refused_at_a_brace(text in any_text()) {
        match Template::parse(&text) {
            Ok(template) if template.variables().is_empty() => {
                prop_assert_eq!(template.render(&ann(), Escape::Html), text);
            }
            Ok(template) => {
                let rendered = template.render(&ann(), Escape::None);
                let left_over = ["{UserName}", "{attr.city}"].iter().any(|name| rendered.contains(name));
                prop_assert!(!left_over);
            }
            Err(error) => {
                prop_assert_eq!(text.chars().nth(error.column() - 1), Some('{'));
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_text_without_opening_braces_renders_to_itself(text in any_text()) {
        let text = text.replace('{', "");
        prop_assert_eq!(Template::parse(&text).unwrap().render(&ann(), Escape::Html), text);
    }

    #[test]
    fn any_value_comes_out_as_it_is(value in any_value()) {
        let template = Template::parse("a{UserName}b{attr.city|x}c").unwrap();
        let values = known([(Variable::UserName, &value), (city(), &value)]);
        prop_assert_eq!(template.render(&values, Escape::None), format!("a{value}b{value}c"));
    }

    #[test]
    fn no_markup_comes_from_a_value_in_html(value in any_value()) {
        let values = known([(Variable::UserName, &value)]);
        let rendered = Template::parse("{UserName}").unwrap().render(&values, Escape::Html);
        prop_assert!(!rendered.contains(['<', '>', '"', '\'']));
        let back = rendered.replace("&lt;", "<").replace("&gt;", ">");
        let back = back.replace("&quot;", "\"").replace("&#39;", "'");
        prop_assert_eq!(back.replace("&amp;", "&"), value);
    }
}
