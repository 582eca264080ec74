// A host of C, which walks along the words that it heard. Start: cc -o host host.c && dreamctl host -- ./host
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { MOST = 4096, CHARS = 24 };
static char heard[MOST][CHARS] = {"the", "river", "is", "near", "and", "the", "rain", "is", "under", "the", "old", "house"};
static unsigned count = 12;  // of all words; the oldest are overwritten

static unsigned known(void) { return count < MOST ? count : MOST; }

static void learn(const char *text) {  // up to the quotation mark that ends it
    for (size_t n = 0; n || (*text && *text != '"'); text++) {
        if (isalpha((unsigned char)*text) && n < CHARS - 1) heard[count % MOST][n++] = (char)tolower(*text);
        else if (n) heard[count++ % MOST][n] = 0, n = 0, text--;
        else if (*text == '\\' && text[1]) text++;  // an escape
    }
}

static void say(long id) {  // after a word comes one that has followed it before
    unsigned at = (unsigned)rand() % known();
    printf("{\"id\": %ld, \"text\": \"%s", id, heard[at]);
    for (int steps = 8 + rand() % 5; steps > 0; steps--) {
        unsigned next = (unsigned)rand() % known(), tries = known();
        while (--tries && strcmp(heard[next % known()], heard[at])) next++;
        printf(" %s", heard[at = (next + 1) % known()]);
    }
    puts("\"}");
}

int main(void) {
    static char line[1 << 20];
    puts("{\"hello\": {\"name\": \"c\", \"provides\": [\"generate\", \"observe\"], \"origin\": [\"I am small.\"]}}");
    for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout)) {
        char *id = strstr(line, "\"id\":"), *text = strstr(line, "\"observe\":") ? strstr(line, "\"text\":\"") : NULL;
        if (id && strstr(line, "\"generate\":")) say(atol(id + 5));
        else if (id && text) learn(text + 8), printf("{\"id\": %ld}\n", atol(id + 5));
    }
}
