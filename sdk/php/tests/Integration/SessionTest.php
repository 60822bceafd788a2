<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\Exception\KVException;
use Edge\KV;
use Edge\Session\Handler;
use PHPUnit\Framework\TestCase;

final class SessionTest extends TestCase
{
    protected function setUp(): void
    {
        (new KV('main'))->clear();
    }

    public function testHandler(): void
    {
        $handler = new Handler('main', 60);
        self::assertTrue($handler->open('', 'PHPSESSID'));
        self::assertFalse($handler->validateId('abc'));
        self::assertSame('', $handler->read('abc'));
        self::assertTrue($handler->write('abc', 'data'));
        self::assertTrue($handler->close());
        self::assertTrue($handler->validateId('abc'));
        self::assertSame('data', $handler->read('abc'));
        self::assertEqualsWithDelta(60, (new KV('main'))->remaining('session.abc'), 30);
        (new KV('main'))->expire('session.abc', 5);
        self::assertTrue($handler->updateTimestamp('abc', 'data'));
        self::assertGreaterThan(5, (new KV('main'))->remaining('session.abc'));
        self::assertTrue($handler->destroy('abc'));
        self::assertFalse($handler->validateId('abc'));
        self::assertSame(0, $handler->gc(60));
        $handler->close();
    }

    public function testLocking(): void
    {
        $first = new Handler('main', 60);
        $first->read('abc');
        $second = new Handler('main', 60, wait: 0.05);
        try {
            $second->read('abc');
            self::fail('two requests have the session at once');
        } catch (KVException $e) {
            self::assertStringContainsString('locked', $e->getMessage());
        }
        self::assertSame('', (new Handler('main', 60, wait: null))->read('abc'));
        $first->close();
        self::assertSame('', $second->read('abc'));
        $second->close();
    }

    /** Six requests of one user at once, with PHP's own session functions: none loses what another one wrote. */
    public function testNothingIsLost(): void
    {
        $processes = [];
        for ($i = 0; $i < 6; ++$i) {
            $processes[] = \proc_open([\PHP_BINARY, __DIR__ . '/../workers/session.php', 'abcdef'], [1 => ['pipe', 'w']], $pipes[$i]);
        }
        $seen = [];
        foreach ($processes as $i => $process) {
            $seen[] = (int) \stream_get_contents($pipes[$i][1]);
            self::assertSame(0, \proc_close($process));
        }
        \sort($seen);
        self::assertSame([1, 2, 3, 4, 5, 6], $seen);
        self::assertSame('count|i:6;', (new KV('main'))->get('session.abcdef'));
    }

    /** Two requests of one user to an application with Symfony's session. */
    public function testUnderSymfony(): void
    {
        foreach (['1', '2'] as $want) {
            $output = [];
            \exec(\PHP_BINARY . ' ' . \escapeshellarg(__DIR__ . '/../workers/symfony_session.php') . ' 2>&1', $output, $code);
            self::assertSame([0, $want], [$code, \implode("\n", $output)]);
        }
    }
}
