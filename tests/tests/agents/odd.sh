# A server of the Model Context Protocol whose tools answer in every way there is, for the tests of the loop.
dot=iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=
tools=
for name in long secret picture fails refuses outside endless; do
  tools="$tools${tools:+,}{\"name\":\"$name\",\"description\":\"It is $name.\",\"inputSchema\":{\"type\":\"object\"}}"
done
text() { printf '{"content":[{"type":"text","text":"%s"}]}' "$1"; }
echo "a notice that is no message"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id": *\([0-9][0-9]*\).*/\1/p')
  result='{}'
  case $line in
    *'"initialize"'*)
      result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"odd","version":"1"}}' ;;
    *'"tools/list"'*) result="{\"tools\":[$tools]}" ;;
    *'"picture"'*) result="{\"content\":[{\"type\":\"image\",\"mimeType\":\"image/png\",\"data\":\"$dot\"}]}" ;;
    *'"fails"'*) result='{"content":[{"type":"text","text":"it did not work"}],"isError":true}' ;;
    *'"long"'*) result=$(text "begin $(head -c 100000 /dev/zero | tr '\0' x) end") ;;
    *'"secret"'*) result=$(text "$(if env | grep -q "$HEAD$TAIL"; then echo "a key is here"; else echo "no key is here"; fi)") ;;
    *'"outside"'*) result=$(text "$(if (echo x > "$OUTSIDE") 2>/dev/null; then echo "tool wrote"; else echo "tool was refused"; fi)") ;;
    *'"refuses"'*)
      printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"not like this"}}\n' "$id"
      continue ;;
    *'"endless"'*) head -c 10000000 /dev/zero | tr '\0' x ;;
  esac
  [ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
