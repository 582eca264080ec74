#!/bin/sh
# A host with one fault, its argument. Without one it answers each call with its own id.
fault=$1
hello='{"hello": {"name": "broken", "provides": ["generate", "observe"]}}'
all='{"hello": {"name": "all", "provides": ["generate", "observe", "recall", "unobserve"], "concurrent": true}}'
case $fault in
no_hello) ;;
answer_first) echo '{"id": 1, "text": "here"}' ;;
no_observe) echo '{"hello": {"name": "broken", "provides": ["generate"]}}' ;;
all | wrong_second | many_texts) echo "$all" ;; # the first is no fault
*) echo "$hello" ;;
esac
[ "$fault" != hello_twice ] || echo "$hello"
[ "$fault" != context ] || printf '%s\n' "$2" # no fault: it reports $2
[ "$fault" != closes_output ] || exec cat >/dev/null
[ "$fault" != closes_input ] || exec sleep 60 <&-
while IFS= read -r line; do
    id=${line#*'"id":'} id=${id%%[!0-9]*}
    text="the river of call $id"
    case $fault in
    wrong_id) id=1999 ;;
    two_answers) echo "{\"id\": $id, \"text\": \"$text\"}" ;;
    text_too_long) text=$(printf '%04001d' 0) ;;
    invalid_json) text='"' ;;
    hangs) exec sleep 60 ;;
    dies) exit 3 ;;
    noise) echo "thinking about call $id" ;;
    late) while ! [ -e "$2" ] && [ $((waited += 1)) -lt 1000 ]; do sleep 0.05; done ;;
    empty) text= ;;
    wrong_second) case $line in *'"candidate":2}'*) id=1999 ;; esac ;;
    many_texts) more='"a", "b", "c",' ;;
    error) echo "{\"id\": $id, \"error\": \"ValueError: private\"}" && continue ;;
    esac
    echo "{\"id\": $id, \"text\": \"$text\", \"texts\": [$more \"$text\"], \"added\": [1]}"
done
[ "$fault" != answers_at_end ] || echo '{"id": 1999}'
[ "$fault" != fails_at_end ] || exit 4
[ "$fault" != stays ] || exec sleep 60
