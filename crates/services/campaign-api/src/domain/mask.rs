//! Field masks (AIP-161): which fields an update sets.

use carillon_service_kit::status::FieldError;
use prost_types::FieldMask;

use super::nearest::nearest;

/// The known paths that a mask names; `*`, or no mask, names all.
///
/// # Errors
/// Each path that is not known, with the nearest one that is.
pub(crate) fn paths(
    mask: Option<&FieldMask>,
    known: &'static [&'static str],
) -> Result<Vec<&'static str>, Vec<FieldError>> {
    let given = mask.map_or(&[] as &[String], |mask| &mask.paths);
    if given.is_empty() || given == ["*"] {
        return Ok(known.to_vec());
    }
    let (mut named, mut errors) = (Vec::new(), Vec::new());
    for path in given {
        match known.iter().find(|known| *known == path) {
            Some(known) => named.push(*known),
            None => errors.push(unknown(path, known)),
        }
    }
    if errors.is_empty() { Ok(named) } else { Err(errors) }
}

fn unknown(path: &str, known: &'static [&'static str]) -> FieldError {
    let shown: String = path.chars().take(64).collect();
    let remedy = match nearest(path, known.iter().copied()) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => format!("name one of {}", known.join(", ")),
    };
    FieldError::new("update_mask", format!("'{shown}' is not a field that can be set; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["name", "valid", "content.sms"];

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn no_mask_and_a_star_name_every_field() {
        assert_eq!(paths(None, KNOWN), Ok(KNOWN.to_vec()));
        assert_eq!(paths(Some(&mask(&[])), KNOWN), Ok(KNOWN.to_vec()));
        assert_eq!(paths(Some(&mask(&["*"])), KNOWN), Ok(KNOWN.to_vec()));
    }

    #[test]
    fn every_unknown_path_is_refused_with_the_nearest_that_is_known() {
        let errors = paths(Some(&mask(&["valdi", "name", "zzz"])), KNOWN).expect_err("unknown");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "update_mask: 'valdi' is not a field that can be set; did you mean 'valid'?",
                "update_mask: 'zzz' is not a field that can be set; name one of name, valid, content.sms",
            ]
        );
    }
}
