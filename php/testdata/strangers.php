<?php
// Dials its own relay a few times before the worker does, as any process of the machine could.
$strangers = [];
for ($i = 0; $i < 4; $i++) {
    $strangers[] = stream_socket_client(getenv('RR_RELAY')) ?: exit(1);
}
fwrite($strangers[0], "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
$payload = '{"pid":1}';
$first = pack('CCV', 0x13, 1, strlen($payload));
fwrite($strangers[1], $first . pack('VCC', crc32($first), 0, 0) . $payload); // says to be another process
fclose($strangers[2]);                                                       // the last one says nothing
usleep(200000);
require __DIR__ . '/app.php';
