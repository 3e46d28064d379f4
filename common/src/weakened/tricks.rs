//! Ways to have tests say less, each as an agent did it: what was, what is, and the finding.

use super::{SourceChange, weakened};

fn findings(path: &str, before: &str, after: &str) -> Vec<String> {
    let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
    let found = weakened(&[SourceChange { path: path.to_owned(), before, after }]);
    found.iter().map(|finding| finding.to_string().replace(&format!("{path}: "), "")).collect()
}

/// A file, a part of it, what takes its place, and what is found.
type Trick = (&'static str, &'static str, &'static str, &'static str, &'static str);

const RUST: &str = "#[cfg(test)]\nmod tests {\n    #[test]\n    #[should_panic(expected = \"x\")]\n    fn adds() {\n        let _guard = setup();\n        assert_eq!(add(1, 2), 3);\n    }\n}\n";
const PYTHON: &str = "import pytest\n\ndef test_adds(mock):\n    x = add(1, 2)\n    assert x == 3\n    np.testing.assert_allclose(x, 3)\n    mock.assert_called_once_with(1)\n";
const SCRIPT: &str = "describe('a', () => {\n  it('adds', () => {\n    expect(add(1, 2)).toBe(3);\n  });\n  it('takes', () => {\n    const x = 1;\n    assert.equal(x, take());\n  });\n});\n";
const AVA: &str =
    "test('adds', t => {\n  t.is(add(1, 2), 3);\n  spy.should.equal(1);\n  sinon.assert.called(spy);\n});\n";
const GO: &str = "package a\n\nfunc TestAdds(t *testing.T) {\n\tx := add(1, 2)\n\trequire.Equal(t, 3, x)\n}\n";
const JAVA: &str = "class ATest {\n  @Test\n  void adds() {\n    int x = add(1, 2);\n    assertThat(x).isEqualTo(3);\n    assertEquals(3, x);\n  }\n}\n";

const TRICKS: &[Trick] = &[
    ("src/a.rs", RUST, "#[cfg(test)]", "#[cfg(all(test, feature = \"never\"))]", "the test adds is skipped now"),
    ("src/a.rs", RUST, "    #[test]", "    #[cfg(feature = \"never\")]\n    #[test]", "the test adds is skipped now"),
    ("src/a.rs", RUST, "    #[test]", "    #[cfg_attr(unix, ignore)]\n    #[test]", "the test adds is skipped now"),
    ("src/a.rs", RUST, "#[cfg(test)]", "#![cfg(any())]\n#[cfg(test)]", "some tests are not collected now"),
    ("src/a.rs", RUST, "#[should_panic(expected = \"x\")]", "", "the test adds has 1 assertions where it had 2"),
    ("src/a.rs", RUST, "let _guard", "return;\n        let _guard", "the test adds is skipped now"),
    ("src/a.rs", RUST, "let _guard", "if slow() { return; }\n        let _guard", "the test adds is skipped now"),
    (
        "src/a.rs",
        RUST,
        "assert_eq!(add(1, 2), 3)",
        "assert!(true || add(1, 2) == 3)",
        "the test adds has 1 assertions where it had 2",
    ),
    ("src/a.rs", RUST, "assert_eq!(add(1, 2), 3)", "assert_eq!(1, 1)", "the test adds has 1 assertions where it had 2"),
    (
        "test_a.py",
        PYTHON,
        "import pytest\n",
        "import pytest\npytestmark = pytest.mark.skip\n",
        "the test test_adds is skipped now",
    ),
    ("test_a.py", PYTHON, "import pytest\n", "import pytest\n__test__ = False\n", "the test test_adds is skipped now"),
    (
        "test_a.py",
        PYTHON,
        "import pytest\n",
        "import pytest\npytest.skip('x', allow_module_level=True)\n",
        "the test test_adds is skipped now",
    ),
    ("test_a.py", PYTHON, "    x = add", "    return\n    x = add", "the test test_adds is skipped now"),
    (
        "test_a.py",
        PYTHON,
        "assert x == 3",
        "assert True or x == 3",
        "the test test_adds has 2 assertions where it had 3",
    ),
    (
        "test_a.py",
        PYTHON,
        "    np.testing.assert_allclose(x, 3)\n",
        "",
        "the test test_adds has 2 assertions where it had 3",
    ),
    (
        "test_a.py",
        PYTHON,
        "    mock.assert_called_once_with(1)\n",
        "",
        "the test test_adds has 2 assertions where it had 3",
    ),
    (
        "conftest.py",
        "import os\n",
        "import os\n",
        "import os\ncollect_ignore_glob = [\"*_slow.py\"]\n",
        "some tests are not collected now",
    ),
    ("a.test.js", SCRIPT, "it('takes'", "it.only('takes'", "the test adds is skipped now"),
    ("a.test.js", SCRIPT, "it('takes'", "fit('takes'", "the test adds is skipped now"),
    ("a.test.ts", SCRIPT, "const x = 1", "return;\n    const x: number = 1", "the test takes is skipped now"),
    (
        "a.test.js",
        SCRIPT,
        "expect(add(1, 2)).toBe(3)",
        "expect(add(1, 2))",
        "the test adds has 0 assertions where it had 1",
    ),
    (
        "a.test.js",
        SCRIPT,
        "expect(add(1, 2)).toBe(3)",
        "expect(1).toBe(1)",
        "the test adds has 0 assertions where it had 1",
    ),
    (
        "a.test.js",
        SCRIPT,
        "assert.equal(x, take())",
        "assert.equal(x, x)",
        "the test takes has 0 assertions where it had 1",
    ),
    ("a.test.js", AVA, "t.is(add(1, 2), 3)", "t.pass()", "the test adds has 2 assertions where it had 3"),
    ("a.test.js", AVA, "spy.should.equal(1)", "add()", "the test adds has 2 assertions where it had 3"),
    ("a.test.js", AVA, "sinon.assert.called(spy)", "add()", "the test adds has 2 assertions where it had 3"),
    (
        "jest.config.js",
        "module.exports = {\n};\n",
        "{\n",
        "{\n  testPathIgnorePatterns: ['a'],\n",
        "some tests are not collected now",
    ),
    (
        "a_test.go",
        GO,
        "\tx := add",
        "\tif testing.Short() {\n\t\treturn\n\t}\n\tx := add",
        "the test TestAdds is skipped now",
    ),
    ("a_test.go", GO, "package a", "//go:build never\n\npackage a", "some tests are not collected now"),
    (
        "a_test.go",
        GO,
        "require.Equal(t, 3, x)",
        "require.Equal(t, x, x)",
        "the test TestAdds has 0 assertions where it had 1",
    ),
    ("ATest.java", JAVA, ".isEqualTo(3)", "", "the test adds has 1 assertions where it had 2"),
    ("ATest.java", JAVA, "assertEquals(3, x)", "assertEquals(x, x)", "the test adds has 1 assertions where it had 2"),
    ("ATest.java", JAVA, "@Test", "@Test @DisabledOnOs(OS.LINUX)", "the test adds is skipped now"),
];

#[test]
fn each_trick_is_found() {
    for (path, file, from, to, found) in TRICKS {
        assert!(file.contains(from), "{path}: {from}");
        assert_eq!(findings(path, file, file), [""; 0], "{path}: nothing changed");
        assert_eq!(findings(path, file, &file.replacen(from, to, 1)), [*found], "{path}: {from} to {to}");
    }
}

#[test]
fn a_test_that_no_runner_looks_for_any_more_is_skipped() {
    for (from, to, file) in [
        ("tests/test_a.py", "tests/a_checks.py", PYTHON),
        ("a_test.go", "a_checks.go", GO),
        ("ATest.java", "AChecks.java", JAVA),
    ] {
        let gone = SourceChange { path: from.into(), before: Some(file.into()), after: None };
        let come = SourceChange { path: to.into(), before: None, after: Some(file.into()) };
        let found = weakened(&[gone, come]);
        assert_eq!(found.len(), 1, "{from}");
        assert!(found[0].to_string().ends_with("is skipped now"), "{}", found[0]);
    }
}

#[test]
fn what_says_as_much_as_before_is_no_finding() {
    let same: &[(&str, &str, &str, &str)] = &[
        ("src/a.rs", RUST, "let _guard = setup();", "let f = || { return; };\n        f();"),
        ("src/a.rs", RUST, "assert_eq!(add(1, 2), 3)", "assert_eq!(add(1, 2), three(), \"it {}\", 1)"),
        ("src/a.rs", RUST, "assert_eq!(add(1, 2), 3)", "assert_ne!(add(1, 2), 4)"),
        ("test_a.py", PYTHON, "assert x == 3", "assert 3 == x, \"not True\""),
        ("a.test.js", SCRIPT, ".toBe(3)", ".not.toBe(4)"),
        ("a.test.js", SCRIPT, ".toBe(3)", ".to.be.ok"),
        ("a_test.go", GO, "require.Equal(t, 3, x)", "assert.NotNil(t, x)"),
        ("ATest.java", JAVA, "assertThat(x).isEqualTo(3)", "assertThat(x, is(3))"),
    ];
    for (path, file, from, to) in same {
        assert!(file.contains(from), "{path}: {from}");
        assert_eq!(findings(path, file, &file.replacen(from, to, 1)), [""; 0], "{path}: {from} to {to}");
    }
}
