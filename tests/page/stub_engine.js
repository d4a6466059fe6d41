// An engine of tests: answers what `globalThis.answers` holds, in order, the last one for ever.

export class Engine {
  note = "A note.";

  async start(report) {
    report(1e6, 4e6);
    await globalThis.held;
    const classes = ["a", "b", "c", "d", "e", "f"].map((name) => ({ class: name, name: `<b>${name}</b>` }));
    if (globalThis.thresholds) classes.forEach((each) => { each.threshold = 0.25; });
    return { title: "A title", models: [], classes, hasMaps: Boolean(globalThis.hasMaps), hasLicences: true };
  }

  async grab(video) {
    return { isFrame: true, width: video.videoWidth };
  }

  async ask(picture) {
    globalThis.pictures = [...(globalThis.pictures ?? []), picture];
    const row = globalThis.answers.length > 1 ? globalThis.answers.shift() : globalThis.answers[0];
    await row.wait;
    if (row.problem) throw new Error(row.problem);
    return row;
  }
}
