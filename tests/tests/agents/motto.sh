# A server of the Model Context Protocol with one tool, for the tests of agent programs.
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id": *\([0-9][0-9]*\).*/\1/p')
  version=$(printf '%s' "$line" | sed -n 's/.*"protocolVersion": *"\([^"]*\)".*/\1/p')
  case $line in
    *'"initialize"'*)
      result="{\"protocolVersion\":\"$version\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"motto\",\"version\":\"1\"}}" ;;
    *'"tools/list"'*)
      result='{"tools":[{"name":"motto","description":"The motto of the house.","inputSchema":{"type":"object","properties":{}}}]}' ;;
    *'"tools/call"'*) result="{\"content\":[{\"type\":\"text\",\"text\":\"$MOTTO\"}]}" ;;
    *) result='{}' ;;
  esac
  [ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
