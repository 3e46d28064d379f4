//! Patches applied: by data, and by properties over many made-up files.

use super::super::parse;
use super::*;

fn applied(file: &str, body: &str) -> Result<String, PatchError> {
    let hunks = parse(&format!("*** Begin Patch\n*** Update File: x\n{body}\n*** End Patch")).expect("a patch");
    let changes = plan(&hunks, |_| Ok(Some(file.to_owned())))?;
    Ok(match changes.into_iter().next() {
        Some(Change::Write { content, .. }) => content,
        _ => file.to_owned(),
    })
}

#[test]
fn chunks_are_placed_by_their_context() {
    let file = "class A:\n    def f(self):\n        return 1\n\nclass B:\n    def f(self):\n        return 1\n";
    for (body, after) in [
        (
            "@@ class B:\n     def f(self):\n-        return 1\n+        return 2",
            file.replace("B:\n    def f(self):\n        return 1", "B:\n    def f(self):\n        return 2"),
        ),
        (
            "@@ class B:\n@@     def f(self):\n-        return 1\n+        return 2",
            file.replace("B:\n    def f(self):\n        return 1", "B:\n    def f(self):\n        return 2"),
        ),
        // The line of the @@ again as the first one, and less space than there is.
        (
            "@@ class B:\n class B:\n def f(self):\n-return 1\n+        return 2",
            file.replace("B:\n    def f(self):\n        return 1", "B:\n    def f(self):\n        return 2"),
        ),
        (
            "-        return 1\n+        return 2\n*** End of File",
            file.replace("B:\n    def f(self):\n        return 1", "B:\n    def f(self):\n        return 2"),
        ),
        ("@@ class A:\n+    x = 1", file.replace("class A:\n", "class A:\n    x = 1\n")),
        ("+# the end", format!("{file}# the end\n")),
        // An empty line at the end that is not in the file.
        (
            "         return 1\n\n class B:\n-    def f(self):\n+    def g(self):\n         return 1\n ",
            file.replace("B:\n    def f", "B:\n    def g"),
        ),
    ] {
        assert_eq!(applied(file, body).as_deref(), Ok(after.as_str()), "{body}");
    }
}

#[test]
fn line_ends_and_a_missing_newline_are_kept() {
    assert_eq!(applied("a\r\nb\r\n", " a\n-b\n+c").as_deref(), Ok("a\r\nc\r\n"));
    assert_eq!(applied("a\nb\nc", "-a\n+x").as_deref(), Ok("x\nb\nc"));
    assert_eq!(applied("a\nb", "-b\n+x").as_deref(), Ok("a\nx\n"));
    assert_eq!(applied("", "+x").as_deref(), Ok("x\n"));
    assert_eq!(applied("a\n", "-a").as_deref(), Ok(""));
    // A kept line stays as it is in the file.
    assert_eq!(applied("a \t\nb\n", " a\n-b\n+c").as_deref(), Ok("a \t\nc\n"));
}

#[test]
fn errors_tell_a_model_what_to_do() {
    let error = applied("a\nb\nc\n", " b\n-x\n+y").expect_err("refused").to_string();
    assert_eq!(
        error,
        "x, chunk 1: these lines are not found below line 0:\nb\nx\n\"b\" is in line 2; what follows there is different"
    );
    let error = applied("a\n", "@@ nowhere\n-a").expect_err("refused").to_string();
    assert!(error.contains("the line after @@ is not found below line 0: nowhere"), "{error}");
    assert!(
        applied("a\n", "-z")
            .expect_err("refused")
            .to_string()
            .ends_with("read the file again: it is not what the patch was written for")
    );
    // Chunks go from top to bottom.
    assert!(applied("a\nb\n", "-b\n@@\n-a").is_err());
}

#[test]
fn files_come_go_and_move_all_or_none() {
    let files = |path: &str| match path {
        "a" => Ok(Some("1\n".to_owned())),
        "b" => Ok(Some("2\n".to_owned())),
        "bad" => Err("outside the workspace".to_owned()),
        _ => Ok(None),
    };
    let run = |body: &str| plan(&parse(&format!("*** Begin Patch\n{body}\n*** End Patch")).expect("a patch"), files);
    let write =
        |path: &str, content: &str, is_new| Change::Write { path: path.into(), content: content.into(), is_new };
    let delete = |path: &str| Change::Delete { path: path.into() };
    assert_eq!(run("*** Update File: a\n*** Move to: c\n-1\n+x"), Ok(vec![delete("a"), write("c", "x\n", true)]));
    assert_eq!(run("*** Update File: a\n*** Move to: c"), Ok(vec![delete("a"), write("c", "1\n", true)]));
    assert_eq!(run("*** Add File: n\n+1\n*** Update File: n\n-1\n+2"), Ok(vec![write("n", "2\n", true)]));
    assert_eq!(run("*** Delete File: a\n*** Add File: a\n+1"), Ok(vec![]), "nothing changed in the end");
    assert_eq!(run("*** Delete File: a\n*** Update File: b\n-3"), run("*** Update File: b\n-3"), "nothing is done");
    assert_eq!(run("*** Update File: a\n*** Move to: b\n-1"), Err(PatchError::Occupied { path: "b".into() }));
    assert_eq!(run("*** Delete File: gone"), Err(PatchError::Missing { path: "gone".into() }));
    assert_eq!(run("*** Update File: gone\n-1"), Err(PatchError::Missing { path: "gone".into() }));
    assert!(run("*** Add File: bad\n+1").expect_err("refused").to_string().contains("outside the workspace"));
}

/// SplitMix64: the cases of a property are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// A file, random edits of it, and the file after them.
struct Edited {
    before: String,
    after: String,
    signed: Vec<(char, String)>,
}

fn edited(random: &mut Random, unique: bool) -> Edited {
    let words =
        ["", "fn main() {", "    let a = 1;", "}", "  // a \u{2013} b", "*** stars", "@@ at", "+plus", "-minus", "é"];
    let mut signed = Vec::new();
    for number in 0..random.below(40) + 1 {
        let word = words[random.below(words.len())];
        let line = if unique { format!("{word}{number}") } else { word.to_owned() };
        match random.below(6) {
            0 => signed.push(('-', line)),
            1 => {
                signed.push(('-', line));
                signed.push(('+', format!("new {number}")));
            }
            2 => {
                signed.push((' ', line));
                signed.push(('+', words[random.below(words.len())].to_owned()));
            }
            _ => signed.push((' ', line)),
        }
    }
    let text = |sign: char| {
        let lines = signed.iter().filter(|(found, _)| *found == ' ' || *found == sign);
        lines.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    Edited { before: text('-'), after: text('+'), signed }
}

#[test]
fn a_patch_that_names_every_line_gives_exactly_the_edited_file() {
    let mut random = Random(1);
    for round in 0..2_000 {
        let case = edited(&mut random, false);
        if case.before == case.after {
            continue;
        }
        let body: String = case.signed.iter().map(|(sign, line)| format!("{sign}{line}\n")).collect();
        assert_eq!(
            applied(&case.before, body.trim_end_matches('\n')).as_deref(),
            Ok(case.after.as_str()),
            "round {round}:\n{body}"
        );
    }
}

#[test]
fn chunks_with_three_lines_of_context_give_it_too_and_spaces_do_not_matter() {
    let mut random = Random(2);
    for round in 0..2_000 {
        let case = edited(&mut random, true);
        let near = |at: usize| {
            let range = at.saturating_sub(3)..(at + 4).min(case.signed.len());
            case.signed[range].iter().any(|(sign, _)| *sign != ' ')
        };
        let mut body = String::new();
        let mut open = false;
        for (at, (sign, line)) in case.signed.iter().enumerate() {
            if !near(at) {
                open = false;
                continue;
            }
            if !std::mem::replace(&mut open, true) {
                body.push_str("@@\n");
            }
            let blurred = *sign != '+' && random.below(3) == 0;
            let line = if blurred { format!("{line}  ") } else { line.clone() };
            body.push_str(&format!("{sign}{line}\n"));
        }
        if case.before != case.after {
            assert_eq!(
                applied(&case.before, body.trim_end_matches('\n')).as_deref(),
                Ok(case.after.as_str()),
                "round {round}:\n{body}"
            );
        }
    }
}

#[test]
fn no_text_makes_it_panic_and_a_refused_patch_changes_nothing() {
    let mut random = Random(3);
    let pieces = [
        "*** Begin Patch",
        "*** End Patch",
        "*** Update File: a",
        "*** Add File: a",
        "*** Delete File: a",
        "*** Move to: b",
        "*** End of File",
        "@@",
        "@@ x",
        " x",
        "+x",
        "-x",
        "",
        "é",
        "+",
        "-",
        "x",
        "\r",
        "<<EOF",
        "EOF",
        "```",
        "*** ",
    ];
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut lines: Vec<&str> = (0..random.below(8)).map(|_| pieces[random.below(pieces.len())]).collect();
        if random.below(4) > 0 {
            let open = ["*** Begin Patch", "*** Update File: a", "@@", "*** Add File: b"];
            lines.splice(0..0, open[..1 + random.below(open.len())].iter().copied());
            lines.push("*** End Patch");
        }
        if let Ok(hunks) = parse(&lines.join("\n")) {
            accepted += 1;
            let files = |path: &str| Ok((path == "a").then(|| "x\ny\nx\n".to_owned()));
            let _refused_or_not = plan(&hunks, files);
        }
    }
    assert!(accepted > 1_000, "the pieces do reach the applier: {accepted}");
}
