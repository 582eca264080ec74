const OPEN = 5;
const box = document.getElementById("search"), found = document.getElementById("found");
const dreams = [...document.querySelectorAll(".dream")];
// A text for searching: without accents and case, in one normal form, and without invisible characters that are not
// typed, such as joiners and soft hyphens. In capitals both forms of the Greek sigma are one.
const plain = text => text.normalize("NFKD").replace(/[\p{M}\p{Cf}]/gu, "").toUpperCase();
const texts = dreams.map(dream => plain(dream.textContent));
function look() {
  const words = plain(box.value).split(/\s+/);
  let shown = 0;
  dreams.forEach((dream, at) => {
    dream.hidden = !words.every(word => texts[at].includes(word));
    if (!dream.hidden) dream.open = shown++ < OPEN;
  });
  found.textContent = `${shown} of ${dreams.length === 1 ? "1 dream" : `${dreams.length} dreams`}`;
}
if (box) {
  box.addEventListener("input", look);
  look();
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = dreams.filter(dream => !dream.hidden && !dream.open);
  opened.forEach(dream => dream.open = true);
});
addEventListener("afterprint", () => opened.forEach(dream => dream.open = false));
