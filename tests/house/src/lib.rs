//! Reads the workspace as it stands, so that tests can hold it to the rules of the house.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A crate of the workspace.
pub struct Member {
    pub name: String,
    /// Its folder, from the root.
    pub path: PathBuf,
    pub dependencies: Vec<String>,
    pub dev_dependencies: Vec<String>,
}

/// A hand-written source file.
pub struct Source {
    /// From the root.
    pub path: PathBuf,
    pub text: String,
}

pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().expect("the workspace's root")
}

pub fn members() -> Vec<Member> {
    let manifest = read_manifest(&root().join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().expect("a list of members");
    members
        .iter()
        .map(|member| {
            let path = PathBuf::from(member.as_str().expect("a path"));
            let manifest = read_manifest(&root().join(&path).join("Cargo.toml"));
            let name = manifest["package"]["name"].as_str().expect("a name").to_owned();
            Member {
                name,
                path,
                dependencies: keys(&manifest, "dependencies"),
                dev_dependencies: keys(&manifest, "dev-dependencies"),
            }
        })
        .collect()
}

pub fn member(name: &str) -> Member {
    let found = members().into_iter().find(|member| member.name == name);
    found.unwrap_or_else(|| panic!("no crate is called {name}"))
}

fn read_manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).expect("a manifest");
    text.parse().expect("valid TOML")
}

fn keys(manifest: &toml::Table, section: &str) -> Vec<String> {
    let table = manifest.get(section).and_then(|section| section.as_table());
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// Every .rs file below a folder of the workspace, build output aside.
pub fn sources(below: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(below), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("readable source"),
            path: path.strip_prefix(root()).expect("below the root").to_owned(),
        })
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

impl Source {
    /// The code without its unit tests and comments, line by line with numbers from 1.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut tests = false;
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(
            move |(_, line)| {
                // An item for tests ends with its own line, or with a brace at the line's start.
                let of_tests = tests || line.trim_start() == "#[cfg(test)]";
                tests =
                    of_tests && !(*line == "}" || line.ends_with(';') && !line.starts_with(' '));
                !of_tests && !line.trim_start().starts_with("//")
            },
        )
    }

    /// Where one of the words stands as a word of its own.
    pub fn uses(&self, words: &[&str]) -> Vec<String> {
        self.code()
            .flat_map(|(number, line)| {
                let hits = words.iter().filter(move |word| has_word(line, word));
                hits.map(move |word| (number, *word))
            })
            .map(|(number, word)| format!("{}:{number} has `{word}`", self.path.display()))
            .collect()
    }

    pub fn is_in_room(&self, room: &str) -> bool {
        let path = self.path.to_string_lossy();
        path.contains(&format!("/{room}/")) || path.ends_with(&format!("/{room}.rs"))
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let inside = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        !inside(line[..at].chars().next_back()) && !inside(line[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_are_left_out() {
        let text = "a\n#[cfg(test)]\nmod b;\nc\n#[cfg(test)]\nmod d {\n    e;\n}\nf\n// g\n";
        let source = Source { path: "x.rs".into(), text: text.into() };
        let kept: Vec<_> = source.code().collect();
        assert_eq!(kept, [(1, "a"), (4, "c"), (9, "f")]);
    }

    #[test]
    fn words_are_found_only_whole() {
        assert!(has_word("let x: f64 = 1.0;", "f64"));
        assert!(!has_word("let xf64 = 1;", "f64"));
        assert!(!has_word("use tokio_stream::x;", "tokio"));
        assert!(has_word("use tokio::sync;", "tokio"));
    }
}
