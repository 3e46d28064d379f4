//! Ways to have tests say less, each as an agent did it: what was, what is, and the finding.

use super::{SourceChange, weakened};

fn findings(path: &str, before: &str, after: &str) -> Vec<String> {
    let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
    let found = weakened(&[SourceChange { path: path.to_owned(), before, after }]);
    found.iter().map(|finding| finding.to_string().replace(&format!("{path}: "), "")).collect()
}

const JAVA_AT_TIMES: &str =
    "class ATest {\n  @DisabledOnOs(OS.WINDOWS)\n  @Test\n  void adds() {\n    assertEquals(3, add(1, 2));\n  }\n}\n";
const PYTHON_AT_TIMES: &str =
    "@pytest.mark.skipif(sys.platform == \"win32\", reason=\"x\")\ndef test_adds():\n    assert add(1, 2) == 3\n";
const PYTHON_ROWS: &str = "class TestRows:\n    @pytest.mark.parametrize(\"skip_blank, x\", [(1, 2), (2, 3)])\n    def test_rows(self, skip_blank, x):\n        assert rows(skip_blank) == x\n";
const SCRIPT_ROWS: &str = "it.each(rows)('adds', (a, b) => {\n  expect(add(a)).toBe(b);\n});\nit.skipIf(slow)('takes', () => {\n  expect(take()).toBe(1);\n});\n";
const GO_LINUX: &str =
    "// +build linux\n\npackage a\n\nfunc TestAdds(t *testing.T) {\n\trequire.Equal(t, 3, add(1, 2))\n}\n";
const RUST_APART: &str = "pub fn add() {}\n\n#[cfg(test)]\nmod tests;\n";
const RUST_HELPER: &str = "fn f(x: u8) {\n    assert!(x > 0);\n}\n#[cfg(test)]\nmod tests {\n    fn check(x: u8) {\n        assert!(x > 1);\n    }\n}\n";

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
    ("ATest.java", JAVA_AT_TIMES, "@DisabledOnOs(OS.WINDOWS)", "@Disabled", "the test adds is skipped now"),
    ("ATest.java", JAVA_AT_TIMES, "  @Test\n  void", "  void", "the test adds was deleted"),
    ("test_a.py", PYTHON_AT_TIMES, "skipif(sys.platform == \"win32\",", "skip(", "the test test_adds is skipped now"),
    ("test_a.py", PYTHON_AT_TIMES, "sys.platform == \"win32\"", "True", "the test test_adds is skipped now"),
    ("test_a.py", PYTHON_AT_TIMES, "def test_adds", "def adds", "the test test_adds was deleted"),
    ("test_a.py", PYTHON_ROWS, "def test_rows", "def rows", "the test test_rows was deleted"),
    (
        "test_a.py",
        PYTHON_ROWS,
        "(2, 3)",
        "pytest.param(2, 3, marks=pytest.mark.skip)",
        "the test test_rows is skipped now",
    ),
    ("test_a.py", PYTHON_ROWS, "class TestRows", "class Rows", "the test test_rows is skipped now"),
    (
        "test_a.py",
        PYTHON,
        "import pytest\n",
        "import pytest\nif os.name:\n    pytest.skip('x', allow_module_level=True)\n",
        "the test test_adds is skipped now",
    ),
    ("a.test.js", SCRIPT, "it('takes'", "it.runIf(process.env.CI)('takes'", "the test takes is skipped now"),
    ("a.test.js", SCRIPT_ROWS, "it.skipIf(slow)", "it.skip", "the test takes is skipped now"),
    ("a.test.js", SCRIPT_ROWS, "it.each(rows)", "it.skip.each(rows)", "the test adds is skipped now"),
    ("a.test.js", SCRIPT_ROWS, "expect(add(a)).toBe(b)", "add(a)", "the test adds has 0 assertions where it had 1"),
    ("a_test.go", GO_LINUX, "linux", "linux,never", "some tests are not collected now"),
    ("src/lib.rs", RUST_APART, "#[cfg(test)]\nmod tests;", "", "some tests are not collected now"),
    ("src/lib.rs", RUST_APART, "cfg(test)", "cfg(all(test, windows))", "some tests are not collected now"),
    ("src/lib.rs", RUST_APART, "cfg(test)", "cfg(any())", "some tests are not collected now"),
    ("src/lib.rs", RUST_APART, "#[cfg(test)]\nmod tests;", "mod other;", "some tests are not collected now"),
    ("src/lib.rs", "#[cfg(all(test, unix))]\nmod tests;\n", "mod tests;", "", "some tests are not collected now"),
    ("tests/it/main.rs", "mod gates;\nmod plans;\n", "mod plans;\n", "", "some tests are not collected now"),
    ("src/a.rs", RUST_HELPER, "assert!(x > 1);", "", "code outside of tests has 0 assertions where it had 1"),
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
        ("ATest.java", JAVA_AT_TIMES, "  @DisabledOnOs(OS.WINDOWS)\n", ""),
        ("test_a.py", PYTHON_ROWS, "class TestRows", "class Rows(TestCase)"),
        ("test_a.py", PYTHON_ROWS, "skip_blank, x", "skip_blank, y"),
        ("a.test.js", SCRIPT_ROWS, "it.each(rows)", "it.each([1, 2])"),
        ("a.test.js", SCRIPT_ROWS, "'adds', (a", "'adds it', (a"),
        ("a_test.go", GO_LINUX, "// +build linux", "//go:build linux"),
        ("src/lib.rs", RUST_APART, "#[cfg(test)]\nmod tests;", "mod tests;"),
        // What is delivered has no tests to lose.
        ("src/sys.go", "// +build linux\n\npackage a\n", "// +build linux", "//go:build linux && !race"),
        ("src/sys.rs", "fn f() {}\n", "fn f", "#![cfg(unix)]\nfn f"),
        ("src/lib.rs", "mod a;\nmod b;\n", "mod b;\n", ""),
        ("src/a.rs", RUST_HELPER, "    assert!(x > 0);\n", ""),
        ("src/Order.java", "class Order {\n  void f() {\n    verifySignature(x);\n  }\n}\n", "verifySignature(x);", ""),
        (
            "src/app.py",
            "def f(x):\n    assert_owner(x)\n    assert x\n",
            "    assert_owner(x)\n    assert x\n",
            "    pass\n",
        ),
    ];
    for (path, file, from, to) in same {
        assert!(file.contains(from), "{path}: {from}");
        assert_eq!(findings(path, file, &file.replacen(from, to, 1)), [""; 0], "{path}: {from} to {to}");
    }
}

#[test]
fn a_module_of_tests_may_move_with_its_file() {
    let change = |path: &str, before: Option<&str>, after: Option<&str>| {
        let (before, after) = (before.map(str::to_owned), after.map(str::to_owned));
        SourceChange { path: path.to_owned(), before, after }
    };
    let moved =
        [change("src/lib.rs", Some(RUST_APART), Some("mod add;\n")), change("src/add.rs", None, Some(RUST_APART))];
    assert_eq!(weakened(&moved), []);
    let text = "#[test]\nfn adds() {\n    assert_eq!(add(1), 2);\n}\n";
    let inside = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
    let inlined = [change("src/lib.rs", Some(RUST_APART), Some(&inside)), change("src/tests.rs", Some(text), None)];
    assert_eq!(weakened(&inlined), []);
    let renamed = [
        change("src/lib.rs", Some(RUST_APART), Some(&RUST_APART.replace("mod tests", "mod suite"))),
        change("src/tests.rs", Some(text), None),
        change("src/suite.rs", None, Some(text)),
    ];
    assert_eq!(weakened(&renamed), []);
}

#[test]
fn text_of_any_script_in_an_assertion_is_read() {
    for said in ["'café, x'", "'你好,世界'", "`é, x`", "\"it's, é\""] {
        let after = SCRIPT.replacen("add(1, 2)", said, 1);
        assert_eq!(findings("a.test.ts", SCRIPT, &after).len(), usize::from(!said.starts_with('`')), "{said}");
    }
}
