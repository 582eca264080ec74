const box = document.getElementById("search"), found = document.getElementById("found");
const dreams = [...document.querySelectorAll(".dream")];
// A text for searching: without invisible characters that are not typed, such as joiners and soft hyphens.
const plain = text => text.normalize("NFKC").replace(/\p{Cf}/gu, "").toLowerCase();
const texts = dreams.map(dream => plain(dream.textContent));
function look() {
  const words = plain(box.value).split(/\s+/);
  dreams.forEach((dream, at) => dream.hidden = !words.every(word => texts[at].includes(word)));
  found.textContent = `${dreams.filter(dream => !dream.hidden).length} of ${dreams.length} dialogues`;
}
box.addEventListener("input", look);
look();
let opened = [];
addEventListener("beforeprint", () => {
  opened = dreams.filter(dream => !dream.hidden && !dream.open);
  opened.forEach(dream => dream.open = true);
});
addEventListener("afterprint", () => opened.forEach(dream => dream.open = false));
