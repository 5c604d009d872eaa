// One model at a time, chosen by the selector or the URL hash, and one clip at a time.
"use strict";

const select = document.getElementById("group");
const groups = [...document.querySelectorAll("section.group")];

function show(key) {
  const shown = groups.some((group) => group.id === key) ? key : groups[0].id;
  select.value = shown;
  for (const group of groups) group.hidden = group.id !== shown;
  for (const audio of document.querySelectorAll("audio")) audio.pause();
}

select.addEventListener("change", () => {
  history.replaceState(null, "", "#model=" + encodeURIComponent(select.value));
  show(select.value);
});
window.addEventListener("hashchange", () => show(new URLSearchParams(location.hash.slice(1)).get("model")));
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);
document.documentElement.classList.add("script");
show(new URLSearchParams(location.hash.slice(1)).get("model"));
