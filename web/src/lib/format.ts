/** "1:02:03", "2:03"; long: always with hours, as on the clock of a recording. */
export function clock(ms: number, long = false): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  if (long) return `${two(h)}:${two(m)}:${two(s)}`;
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "412 kB", "1.3 MB": decimal units, as on the shelf. */
export function bytes(n: number, locale: string): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;
  let value = Math.max(0, n);
  let at = 0;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  const digits = at > 0 && value < 9.95 ? 1 : 0;
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: units[at] ?? 'byte',
    unitDisplay: at === 0 ? 'long' : 'short',
    maximumFractionDigits: digits,
  }).format(value);
}

/** "640 kbit/s", "1.3 Mbit/s". */
export function bitrate(bitsPerSecond: number, locale: string): string {
  const kilo = Math.max(0, bitsPerSecond) / 1000;
  const number = (n: number, maximumFractionDigits: number) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits }).format(n);
  return kilo < 999.5 ? `${number(kilo, 0)}\u00a0kbit/s` : `${number(kilo / 1000, 1)}\u00a0Mbit/s`;
}

/** Reads "1h2m3s", "62m", "93", "1:02:03" as seconds; undefined for anything else. */
export function parseTime(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  if (parts && text) {
    return Number(parts[1] ?? 0) * 3600 + Number(parts[2] ?? 0) * 60 + Number(parts[3] ?? 0);
  }
  if (!/^\d+(:[0-5]?\d){1,2}$/.test(text)) return undefined;
  return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** Seconds as "1h2m3s", for addresses. */
export function timeParam(seconds: number): string {
  const all = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return `${h ? `${h}h` : ''}${h || m ? `${m}m` : ''}${s}s`;
}

/** A name for a room out of the title of a class: what the server allows, and readable. */
export function roomName(title: string, random: () => string): string {
  const plain = title
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 48)
    .replace(/-+$/, '');
  // A title in a script without Latin letters has no readable name of its own.
  return plain.length > 1 ? plain : `class-${random()}`;
}

/** Two letters, or one sign of a Chinese name, to stand for a person. */
export function initials(name: string): string {
  const words = name
    .replace(/^(dr|prof|professor|mr|mrs|ms|mx)\.?\s+/i, '')
    .trim()
    .split(/\s+/)
    .filter(Boolean);
  const first = [...(words[0] ?? '')][0] ?? '';
  if (/\p{Script=Han}/u.test(first)) return first;
  const last = words.length > 1 ? ([...(words.at(-1) ?? '')][0] ?? '') : '';
  return (first + last).toUpperCase();
}
