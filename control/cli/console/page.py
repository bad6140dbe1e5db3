"""Owns the page of the console in a browser: all that it needs comes from this host.

The terminal in it is textual-serve's script, which looks for the element of class
`textual-terminal`, and sets `-first-byte` and `-closed` on the body.
"""

from string import Template
from typing import Final

_PAGE: Final = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>tpctl</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<link rel="preload" href="$font" as="font" type="font/ttf" crossorigin>
<style>
@font-face { font-family: "Roboto Mono"; src: url("$font"); font-weight: 100 700; }
html, body { margin: 0; height: 100%; background: #101418; }
#terminal { height: 100%; }
p { position: fixed; inset: 40% 0 auto; margin: 0; text-align: center; z-index: 20;
    font-family: "Roboto Mono", monospace; color: #c8d0d8; }
p a { color: inherit; }
#closed, body.-first-byte #opening, body.-closed #terminal { display: none; }
body.-closed #closed { display: block; }
</style>
<script nonce="$nonce">
// The terminal makes its input once it is open. It gets the focus, so that keys work at once.
addEventListener("DOMContentLoaded", () => {
  const terminal = document.getElementById("terminal");
  const take = (changes, observer) => {
    const input = terminal.querySelector(".xterm-helper-textarea");
    if (input) { observer.disconnect(); input.focus(); }
  };
  new MutationObserver(take).observe(terminal, {childList: true, subtree: true});
});
</script>
<script src="/static/js/textual.js"></script>
</head>
<body>
<p id="opening">tpctl is starting …</p>
<p id="closed">The console has ended. <a href="/">Open it again</a></p>
<div id="terminal" class="textual-terminal"
 data-session-websocket-url="ws://$host/ws" data-font-size="$size"></div>
</body>
</html>
""")
_FONT: Final = "/static/fonts/RobotoMono-VariableFont_wght.ttf"


def page(host: str, size: int, nonce: str) -> str:
    """The page. `host`: this server's, as it was asked for; `size`: of the font, in pixels."""
    return _PAGE.substitute(host=host, size=size, nonce=nonce, font=_FONT)


def policy(host: str, nonce: str) -> str:
    """What the page may load, as a Content-Security-Policy: nothing of any other host."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            "style-src 'self' 'unsafe-inline'",  # The terminal sets its own.
            "font-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self' ws://{host}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
