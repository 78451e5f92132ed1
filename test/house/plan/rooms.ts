/** How the plan names rooms: by their paths, several in one string. */

const roomsOf =
  (folder: string) =>
  (names: string): readonly string[] =>
    names.split(' ').map((name) => `${folder}/${name}`);

export const shared = roomsOf('shared/src');
export const ca = roomsOf('ca/src');
export const agent = roomsOf('agent/src');

export const PROTO = 'proto/src/gen';
