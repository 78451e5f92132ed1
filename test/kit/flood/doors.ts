/** Connections without a limit that a test could reach, or with these. */
import { type ConnectionSettings, Connections } from '@chancery/shared/door/connections.ts';

export const openDoor = (settings: Partial<ConnectionSettings> = {}): Connections =>
  new Connections(
    {
      strangers: 1000,
      perStranger: 1000,
      certified: 1000,
      perCertificate: 1000,
      perHolder: 1000,
      ...settings,
    },
    () => {},
  );
