element.addEventListener("input", event => {
  if (!event.target.matches(".scrub input")) return;
  const way = event.target.value / event.target.max;
  element.querySelectorAll(".column").forEach(column => {
    const [last, ...frames] = column.querySelectorAll(".frames img");
    if (!frames.length) return;
    const shown = way === 1 ? last : frames[Math.round(way * (frames.length - 1))];
    [last, ...frames].forEach(frame => { frame.hidden = frame !== shown; });
    column.querySelector("output").textContent = shown.dataset.step ?? frames.at(-1).dataset.step;
  });
});
