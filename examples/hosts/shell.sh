#!/bin/sh
# A host of shell and awk, which walks along the words that it heard. Start: dreamctl host -- sh shell.sh
memory=$(mktemp) || exit 1
trap 'rm -f "$memory"' EXIT
echo 'the river is near and the river hears the rain under the old house where a small lamp waits' >"$memory"

words() { # the words of the text behind the key $1, in small letters
    printf '%s\n' "$line" | awk -v key="\"$1\":\"" '{
        text = substr($0, index($0, key) + length(key))
        gsub(/\\./, " ", text)  # an escape, so that the next quotation mark is the end of the text
        sub(/".*/, "", text)
        gsub(/[^A-Za-z]+/, " ", text)
        print tolower(text)
    }'
}

walk() { # eight to twelve words, from one of the words of the seed
    awk -v seed="$(words seed)" -v chance="$id$(date +%s)" '
        { for (i = 1; i < NF; i++) { follows[$i] = follows[$i] " " $(i + 1); all[++known] = $i } }
        END {
            srand(chance)
            n = split(seed, from, " ")
            word = from[int(1 + n * rand())]
            for (steps = 8 + int(5 * rand()); steps; steps--) {
                n = split(follows[word], after, " ")
                word = n ? after[int(1 + n * rand())] : all[int(1 + known * rand())]
                printf "%s ", word
            }
        }' "$memory"
}

echo '{"hello": {"name": "shell", "provides": ["generate", "observe"], "origin": ["I am small. I listen to water."]}}'
while IFS= read -r line; do
    id=${line#*'"id":'} id=${id%%[!0-9]*}
    case $line in
    *'"generate":'*) echo "{\"id\": $id, \"text\": \"$(walk)\"}" ;;
    *'"observe":'*) words text >>"$memory" && echo "{\"id\": $id}" ;;
    esac
done
