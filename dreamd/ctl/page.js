const box = document.getElementById("search"), found = document.getElementById("found");
const dreams = [...document.querySelectorAll(".dream")];
const texts = dreams.map(dream => dream.textContent.toLowerCase());
function look() {
  const words = box.value.toLowerCase().split(/\s+/);
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
