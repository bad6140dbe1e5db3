"""What a value becomes depends on what surrounds its template, and never ends that part."""

from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.model.errors import JobFailed
from control.model.json_values import Json
from control.model.surroundings.base import DATA, Code
from control.model.surroundings.environment import ENVIRONMENT
from control.model.surroundings.http import BODY, HEADERS, QUERY, URL
from control.model.surroundings.image import IMAGE
from control.model.templates import Renderer

X = "${{ run.x }}"
TEXTS = st.text(st.characters(codec="utf-8"))


def url(text: str, value: Json) -> str:
    filled = URL.fill_in(text, {}, Renderer({"run": {"x": value}}))
    assert isinstance(filled, str)
    return filled


def body(text: Json, value: Json, **headers: Json) -> Json:
    return BODY.fill_in(text, {"headers": headers}, Renderer({"run": {"x": value}}))


@given(TEXTS.filter(lambda text: text not in {".", ".."}))
def test_a_value_stays_in_its_part_of_a_url(value: str) -> None:
    made = urlsplit(url(f"https://u:{X}@host:1/a/{X}/b?q={X}&r=1#f{X}", value))
    assert (made.scheme, made.hostname, made.port) == ("https", "host", 1)
    assert made.password is not None
    assert unquote(made.password) == value
    assert [unquote(part) for part in made.path.split("/")] == ["", "a", value, "b"]
    assert parse_qs(made.query, keep_blank_values=True, errors="strict") == {
        "q": [value],
        "r": ["1"],
    }
    assert unquote(made.fragment) == f"f{value}"


def test_a_url_that_is_all_a_value_is_taken_as_it_is() -> None:
    assert url(X, "http://host/?a=b&c=d") == "http://host/?a=b&c=d"


@pytest.mark.parametrize("value", ["host", "10.0.0.1", "a.b-c.example", "[::1]", "host:8080"])
def test_a_value_may_be_a_host(value: str) -> None:
    assert url(f"http://{X}/a", value) == f"http://{value}/a"


@pytest.mark.parametrize("value", ["", "evil/x", "a@b", "a b", "a?b", "a#b", "a:b:c", "a\\b", "-a"])
def test_a_value_that_is_no_host_is_refused_in_words(value: str) -> None:
    with pytest.raises(JobFailed, match="is no host name or address"):
        url(f"http://{X}/a", value)


@pytest.mark.parametrize("value", ["80/x", "x", "", "123456", "80@evil", 99999])
def test_a_value_that_is_no_port_is_refused_in_words(value: Json) -> None:
    assert url(f"http://host:{X}/a", 8080) == "http://host:8080/a"
    with pytest.raises(JobFailed, match="is no port"):
        url(f"http://host:{X}/a", value)


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_does_not_leave_its_directory(value: str) -> None:
    with pytest.raises(JobFailed, match="another directory"):
        url(f"http://host/a/{X}/b", value)
    assert url(f"http://host/../{X}/b", "c") == "http://host/../c/b"
    assert url(f"http://host/?a={X}", value) == f"http://host/?a={value}"


@pytest.mark.parametrize("text", [f"{X}://host", f"ht{X}://host", f"{X}/a", f"x{X}"])
def test_a_value_does_not_choose_the_scheme(text: str) -> None:
    (problem,) = URL.problems(text, {})
    assert "scheme" in problem.message
    with pytest.raises(JobFailed, match="scheme"):
        url(text, "http")


@pytest.mark.parametrize("port", ["0", "65536", "99999", "9" * 5000])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    for host in ("example.com", "user:1@example.com", "[::1]"):
        (problem,) = URL.problems(f"http://{host}:{port}/x:1", {})
        assert "is no port" in problem.message


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com:65535", "http://example.com/a:99999", "http://x?a=http://b:99999"),
        *("http://[::1]/", "http://[::99999]", "http://a:${{ run.port }}/", "http://u:99999@x/"),
    ],
)
def test_what_only_looks_like_a_port_is_fine(url: str) -> None:
    assert not list(URL.problems(url, {}))


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\x7f"])
def test_a_value_stays_in_its_header_line(value: str) -> None:
    renderer = Renderer({"run": {"x": value}})
    with pytest.raises(JobFailed, match="a header is one line"):
        HEADERS.fill_in({"authorization": f"Bearer {X}"}, {}, renderer)


def test_headers_and_query_take_any_scalar() -> None:
    renderer = Renderer({"run": {"n": 5, "t": True, "l": [1, "a"], "z": None}})
    headers: Json = {"a": "${{ run.n }}", "b": "${{ run.t }}"}
    assert HEADERS.fill_in(headers, {}, renderer) == {"a": "5", "b": "true"}
    query: Json = {
        "a": "${{ run.n }}",
        "b": "${{ run.l }}",
        "c": "x ${{ run.t }}",
        "d": "${{ run.z }}",
    }
    assert QUERY.fill_in(query, {}, renderer) == {"a": 5, "b": [1, "a"], "c": "x true", "d": ""}


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        (f'{{"a": "{X}"}}', {}),
        (f" [{X}]", {}),
        (f"a {X}", {"Content-Type": "application/json"}),
        (f"a {X}", {"content-type": "application/cloudevents+json; charset=utf-8"}),
    ],
)
def test_a_text_of_json_takes_no_template(text: str, headers: dict[str, Json]) -> None:
    problems = list(BODY.problems(text, {"headers": headers}))
    assert [problem.hint for problem in problems] == [
        "write the body as an object or a list instead of a text: it is sent as JSON"
    ]


@given(TEXTS)
def test_a_value_in_a_body_stays_a_value(value: str) -> None:
    assert body({"a": X, "b": f"<{X}>"}, value) == {"a": value, "b": f"<{value}>"}
    assert body(X, value) == value
    assert body(f"Dear {X}", value) == f"Dear {value}"
    form = body(f"a={X}&b=1", value, **{"content-type": "application/x-www-form-urlencoded"})
    assert isinstance(form, str)
    assert parse_qs(form, keep_blank_values=True) == {"a": [value], "b": ["1"]}


def test_a_value_in_xml_is_escaped() -> None:
    evil = "</a><evil b='\"&'/>"
    escaped = "&lt;/a&gt;&lt;evil b=&#39;&quot;&amp;&#39;/&gt;"
    assert body(f"<a>{X}</a>", evil) == f"<a>{escaped}</a>"
    assert body(f"{X}!", evil, **{"content-type": "text/html"}) == f"{escaped}!"


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "GIT_CONFIG_X"])
def test_no_value_becomes_a_variable_that_programs_execute(name: str) -> None:
    (problem,) = ENVIRONMENT.problems({name: X, "FINE": X, "PS4": "no template"}, {})
    assert problem.path == (name,)
    assert name in problem.message


def test_what_decides_what_is_executed_takes_no_template() -> None:
    around = Code("which function is called", "pass the value in args")
    assert list(around.problems("module:function", {})) == []
    paths = [problem.path for problem in around.problems(["a", f"b{X}"], {})]
    assert paths == [(1,)]
    with pytest.raises(JobFailed, match=r"at \[1\]\); pass the value in args"):
        around.fill_in(["a", X], {}, Renderer({}))


def test_plain_data_takes_any_value_anywhere() -> None:
    value: Json = {"a": [X, f"-{X}-"]}
    renderer = Renderer({"run": {"x": {"y": 1}}})
    assert DATA.fill_in(value, {}, renderer) == {"a": [{"y": 1}, '-{"y":1}-']}
    assert msgspec.json.encode(value)


@pytest.mark.parametrize(
    "image", [f"app:{X}", f"host:5000/a/app:v{X}-{X}", f"app@{X}", f"app:1@sha256:{X}"]
)
def test_a_value_may_be_the_tag_of_an_image(image: str) -> None:
    assert list(IMAGE.problems(image, {})) == []
    assert IMAGE.fill_in(image, {}, Renderer({"run": {"x": "1.2"}})) == image.replace(X, "1.2")


@pytest.mark.parametrize("image", [X, f"{X}:1", f"host/{X}", f"host:{X}/app", f"a/app{X}:1"])
def test_no_value_chooses_an_image(image: str) -> None:
    (problem,) = IMAGE.problems(image, {})
    assert "would choose the image" in problem.message
    with pytest.raises(JobFailed, match="a template may be in the tag"):
        IMAGE.fill_in(image, {}, Renderer({"run": {"x": "evil"}}))


@pytest.mark.parametrize("value", ["1/evil", "a@sha256:0", "1 --privileged", "", "x\n", "a:b"])
def test_a_value_that_is_no_tag_is_refused_in_words(value: str) -> None:
    with pytest.raises(JobFailed, match="a tag has letters, digits"):
        IMAGE.fill_in(f"app:{X}", {}, Renderer({"run": {"x": value}}))
