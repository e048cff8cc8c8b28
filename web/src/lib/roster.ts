import { type Person, type RoomEvent, moderates } from './events.ts';

/** Who is in the room and whose hand is up. Knows each person once. */
export class Roster {
  readonly #people = new Map<string, Person>();
  readonly #raisedAt = new Map<string, number>();
  /** Members that are here; more than people when the room only sends counts. */
  #total = 0;

  /** Everybody, teachers first, then by name. */
  get people(): Person[] {
    const rank = (p: Person) => (moderates(p.role) ? 0 : 1);
    return [...this.#people.values()].sort(
      (a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1),
    );
  }

  get total(): number {
    return Math.max(this.#total, this.#people.size);
  }

  /** Those whose hand is up, the longest first, with the time it went up. */
  get hands(): { person: Person; at: number }[] {
    return [...this.#people.values()]
      .filter((person) => person.hand)
      .map((person) => ({ person, at: this.#raisedAt.get(person.id) ?? 0 }))
      .sort((a, b) => a.at - b.at);
  }

  get(id: string): Person | undefined {
    return this.#people.get(id);
  }

  /** Begins again with these people. */
  reset(people: Person[], total = people.length): void {
    this.#people.clear();
    for (const person of people) this.#people.set(person.id, person);
    this.#total = total;
  }

  /** Takes over what an event says of people. Returns whether anything changed. */
  apply(event: RoomEvent): boolean {
    if (event.type === 'people') {
      if (event.reset) this.#people.clear();
      for (const person of event.joined ?? []) this.#people.set(person.id, person);
      for (const id of event.left ?? []) this.#people.delete(id);
      this.#total = event.total ?? this.#people.size;
      return true;
    }
    if (event.type !== 'hand') return false;
    const id = event.who ?? event.by;
    if (!id) return false;
    if (event.up) this.#raisedAt.set(id, event.at);
    else this.#raisedAt.delete(id);
    const person = this.#people.get(id);
    if (person) this.#people.set(id, { ...person, hand: event.up });
    return true;
  }
}
