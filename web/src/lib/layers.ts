// The qualities of a picture that a viewer may choose from: WHEP's extensions
// for the selection of layers and for events.
import { Backoff, pause } from './backoff.ts';
import { toProblem } from './problem.ts';
import type { Resource } from './resource.ts';
import { eventsOf } from './sse.ts';

const LAYER = 'urn:ietf:params:whep:ext:core:layer';
const EVENTS = 'urn:ietf:params:whep:ext:core:server-sent-events';

/** One layer of a picture as the server tells of it. */
export interface Layer {
  /** Index of its media line in the offer. */
  line: string;
  /** Of simulcast; '' without. */
  rid: string;
  spatial: number;
  temporal: number;
  /** Bits per second; 0: nothing of it comes at the moment. */
  bitrate: number;
  /** The shorter side, pixels; 0: not known. */
  lines: number;
  /** This is what the viewer gets, where the server says so. */
  current: boolean;
  /** Why it gets it, where the server says so. */
  why: string;
}

/** What is asked of the server; {} leaves it to the server. */
export interface LayerChoice {
  mediaId?: string;
  rid?: string;
  spatialLayerId?: number;
  maxSpatialLayerId?: number;
  maxTemporalLayerId?: number;
  maxHeight?: number;
}

/** What a person chooses. */
export type Quality = 'auto' | 'high' | 'low';

/** Reads the data of a layers event; what is not understood is left out. */
export function parseLayers(data: string): Layer[] {
  let lines: unknown;
  try {
    lines = JSON.parse(data);
  } catch {
    return [];
  }
  if (typeof lines !== 'object' || lines === null) return [];
  return Object.entries(lines).flatMap(([line, layers]) =>
    Array.isArray(layers) ? layers.flatMap((layer) => parseLayer(line, layer)) : [],
  );
}

function parseLayer(line: string, value: unknown): Layer[] {
  if (typeof value !== 'object' || value === null) return [];
  const fields = value as Record<string, unknown>;
  const number = (name: string) => {
    const n = fields[name];
    return typeof n === 'number' && Number.isFinite(n) && n > 0 ? n : 0;
  };
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '');
  return [
    {
      line,
      rid: text('rid'),
      spatial: number('spatialLayerId'),
      temporal: number('temporalLayerId'),
      bitrate: number('bitrate'),
      lines: Math.min(number('width'), number('height')),
      current: fields['current'] === true,
      why: text('why'),
    },
  ];
}

/**
 * The pictures among the layers, the smallest first: temporal layers are the
 * same picture at another rate.
 */
export function picturesOf(layers: Layer[]): Layer[] {
  const pictures = new Map<string, Layer>();
  for (const layer of layers) {
    if (layer.line !== layers[0]?.line) continue;
    const key = `${layer.rid}/${layer.spatial}`;
    const before = pictures.get(key);
    if (!before || layer.bitrate > before.bitrate) pictures.set(key, layer);
  }
  return [...pictures.values()].sort(
    (a, b) => a.lines - b.lines || a.spatial - b.spatial || a.bitrate - b.bitrate,
  );
}

/** The largest picture that comes at the moment. */
export function bestOf(pictures: Layer[]): Layer | undefined {
  return pictures.findLast(({ bitrate }) => bitrate > 0);
}

/** What to ask for; {} where there is nothing to choose from. */
export function choiceOf(quality: Quality, layers: Layer[]): LayerChoice {
  const pictures = picturesOf(layers);
  const [low, best] = [pictures[0], bestOf(pictures)];
  if (quality === 'auto' || pictures.length < 2 || !low) return {};
  if (quality === 'high') return best ? nameOf(best) : {};
  // A bound, not a name: it holds whatever the publisher changes.
  return low.lines ? { mediaId: low.line, maxHeight: low.lines } : nameOf(low);
}

function nameOf({ line, rid, spatial }: Layer): LayerChoice {
  return rid ? { mediaId: line, rid } : { mediaId: line, spatialLayerId: spatial };
}

/**
 * What a stream of which no layers are known is asked for: wishes that every
 * server can meet. A screen stays sharp and gets fewer pictures.
 */
export function blindChoice(quality: Quality, slot: string): LayerChoice {
  if (quality !== 'low') return {};
  return slot === 'screen' ? { maxTemporalLayerId: 0 } : { maxHeight: 360 };
}

/** Asks the server for a choice. Rejects with a Problem. */
export async function choose(
  resource: Resource,
  choice: LayerChoice,
  signal: AbortSignal,
): Promise<void> {
  const url = resource.extension(LAYER);
  if (url) await resource.post(url, choice, signal);
}

/**
 * Tells of the layers of a session, and of each change, until signal aborts or
 * the server knows of none. Never rejects.
 */
export async function followLayers(
  resource: Resource,
  signal: AbortSignal,
  onlayers: (layers: Layer[]) => void,
): Promise<void> {
  const url = resource.extension(EVENTS);
  const backoff = new Backoff({ first: 1000, longest: 20_000 });
  while (url && !signal.aborted) {
    try {
      const stream = await resource.post(url, ['layers'], signal);
      for await (const { event, data } of eventsOf(await resource.read(stream, signal))) {
        backoff.reset();
        if (event === 'layers' && !signal.aborted) onlayers(parseLayers(data));
      }
    } catch (err) {
      if (signal.aborted || toProblem(err).final) return;
    }
    await pause(backoff.next(), signal).catch(() => undefined);
  }
}
