<?php
// A worker as somebody may write one by hand: it greets once, before its loop, and knows control frames in the loop only as
// $argv[1] says. stop: any is the order to stop. skip: all but the order to stop are passed over. junk: they are taken for requests.

function readFrame(): array
{
    $header = fread(STDIN, 12);
    if ($header === false || strlen($header) < 12) {
        exit;
    }
    ['head' => $head, 'flags' => $flags, 'len' => $len] = unpack('Chead/Cflags/Vlen', $header);
    $options = ($head & 0x0f) > 3 ? unpack('V*', fread(STDIN, 4 * (($head & 0x0f) - 3))) : [];
    $payload = '';
    while (strlen($payload) < $len) {
        $payload .= fread(STDIN, $len - strlen($payload));
    }

    return [$flags, array_values($options), $payload];
}

function writeFrame(int $flags, string $payload, int ...$options): void
{
    $start = pack('CCV', 0x13 + count($options), $flags, strlen($payload));
    fwrite(STDOUT, $start . pack('V', crc32($start)) . "\0\0" . pack('V*', ...$options) . $payload);
}

readFrame();
writeFrame(0x01, json_encode(['pid' => getmypid()]));
while (true) {
    [$flags, $options, $payload] = readFrame();
    if ($flags & 0x01 && ($argv[1] === 'stop' || $argv[1] === 'skip' && $payload === '{"stop":true}')) {
        exit;
    }
    if ($flags & 0x01 && $argv[1] === 'skip') {
        continue;
    }
    writeFrame(0x80, "\x08\xc8\x01" . 'pid ' . getmypid(), 3);
}
