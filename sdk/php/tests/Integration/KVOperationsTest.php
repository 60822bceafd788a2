<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use Edge\Exception\KVException;
use Edge\KV;
use PHPUnit\Framework\TestCase;

/** What storages can beyond RoadRunner's seven methods. */
final class KVOperationsTest extends TestCase
{
    private KV $kv;

    protected function setUp(): void
    {
        $this->kv = new KV('main');
        $this->kv->clear();
    }

    public function testAddAndRemove(): void
    {
        self::assertTrue($this->kv->add('a', 1, 60));
        self::assertFalse($this->kv->add('a', 2));
        self::assertSame(1, $this->kv->get('a'));
        self::assertTrue($this->kv->remove('a'));
        self::assertFalse($this->kv->remove('a'));
    }

    public function testCompareAndSwap(): void
    {
        self::assertNull($this->kv->getVersioned('a'));
        self::assertTrue($this->kv->compareAndSwap('a', null, ['n' => 1], 60));
        self::assertFalse($this->kv->compareAndSwap('a', null, ['n' => 2]));
        $seen = $this->kv->getVersioned('a');
        self::assertSame(['n' => 1], $seen->value);
        self::assertTrue($this->kv->compareAndSwap('a', $seen->version, ['n' => 2], KV::KEEP));
        self::assertFalse($this->kv->compareAndSwap('a', $seen->version, ['n' => 3]));
        self::assertSame(['n' => 2], $this->kv->get('a'));
        self::assertEqualsWithDelta(60, $this->kv->remaining('a'), 30);

        self::assertSame(['n' => 3], $this->kv->update('a', static fn (array $old) => ['n' => $old['n'] + 1]));
        self::assertSame('new', $this->kv->update('b', static fn (?string $old) => $old ?? 'new', 60));
        self::assertEqualsWithDelta(60, $this->kv->remaining('b'), 30);
    }

    public function testCounters(): void
    {
        self::assertSame(1, $this->kv->increment('n', ttl: 60));
        self::assertSame(-4, $this->kv->decrement('n', 5));
        self::assertSame(-4, $this->kv->get('n'));
        self::assertSame(['n' => -4], $this->kv->getMultiple(['n']));
        self::assertEqualsWithDelta(60, $this->kv->remaining('n'), 30);
        self::assertSame(\PHP_INT_MAX, $this->kv->increment('large', \PHP_INT_MAX));
        self::assertSame(\PHP_INT_MIN, $this->kv->increment('small', \PHP_INT_MIN));
        $this->kv->set('text', 'x');
        $this->expectException(KVException::class);
        $this->kv->increment('text');
    }

    public function testTouchAndRemaining(): void
    {
        self::assertFalse($this->kv->touch('a', 60));
        self::assertNull($this->kv->remaining('a'));
        $this->kv->set('a', 1, 0.5);
        self::assertGreaterThan(0, $this->kv->remaining('a'));
        self::assertLessThanOrEqual(0.5, $this->kv->remaining('a'));
        self::assertTrue($this->kv->touch('a', 60));
        self::assertGreaterThan(1, $this->kv->remaining('a'));
        self::assertTrue($this->kv->touch('a', null));
        self::assertSame(\INF, $this->kv->remaining('a'));
        self::assertTrue($this->kv->touch('a', -1));
        self::assertNull($this->kv->remaining('a'));
    }

    public function testScan(): void
    {
        $all = [];
        for ($i = 0; $i < 250; ++$i) {
            $all["user.$i"] = $i;
        }
        $this->kv->setMultiple($all + ['other' => 1]);
        $keys = \array_values(\array_unique(\iterator_to_array($this->kv->scan('user.', 100), false)));
        \sort($keys);
        $want = \array_keys($all);
        \sort($want);
        self::assertSame($want, $keys);
        self::assertCount(251, \array_unique(\iterator_to_array($this->kv->scan(), false)));
    }

    public function testTags(): void
    {
        $this->kv->setTagged('a', 'A', ['red']);
        $this->kv->setTagged('b', 'B', ['red', 'blue'], 60);
        $this->kv->set('c', 'C');
        self::assertSame(['a' => 'A', 'b' => 'B', 'c' => 'C'], $this->kv->getMultiple(['a', 'b', 'c']));
        $this->kv->invalidateTags('blue');
        self::assertSame(['a' => 'A', 'b' => null, 'c' => 'C'], $this->kv->getMultiple(['a', 'b', 'c']));
        $this->kv->invalidateTags('red', 'unknown');
        self::assertFalse($this->kv->has('a'));
        $this->kv->setTagged('a', 'again', ['red']);
        self::assertSame('again', $this->kv->get('a'));
    }

    public function testRemember(): void
    {
        $calls = 0;
        $compute = static function () use (&$calls): array {
            return [++$calls];
        };
        self::assertSame([1], $this->kv->remember('a', $compute, 60, ['tag']));
        self::assertSame([1], $this->kv->remember('a', $compute, 60));
        self::assertEqualsWithDelta(60, $this->kv->remaining('a'), 30);
        $this->kv->invalidateTags('tag');
        self::assertSame([2], $this->kv->remember('a', $compute));

        try {
            $this->kv->remember('b', static fn () => throw new \DomainException('no'));
            self::fail('the exception was lost');
        } catch (\DomainException) {
            // The next one need not wait for the lease to end.
            self::assertSame('yes', $this->kv->remember('b', static fn () => 'yes'));
        }
    }

    /** Three processes want the same value at once: one computes it. */
    public function testRememberAcrossProcesses(): void
    {
        $processes = [];
        for ($i = 0; $i < 3; ++$i) {
            $processes[] = \proc_open([\PHP_BINARY, __DIR__ . '/../workers/remember.php'], [1 => ['pipe', 'w']], $pipes[$i]);
        }
        $values = [];
        foreach ($processes as $i => $process) {
            $values[] = \stream_get_contents($pipes[$i][1]);
            \proc_close($process);
        }
        self::assertSame(['computed', 'computed', 'computed'], $values);
        self::assertSame(1, $this->kv->get('computations'));
    }

    public function testLocks(): void
    {
        $lock = $this->kv->lock('import');
        self::assertNotNull($lock);
        self::assertNull($this->kv->lock('import', wait: 0.01));
        self::assertTrue($lock->renew(60));
        self::assertTrue($lock->release());
        self::assertFalse($lock->release());
        self::assertFalse($lock->renew(60));
        $next = $this->kv->lock('import');
        self::assertGreaterThan($lock->fence, $next->fence);
        self::assertTrue($next->release());
    }

    public function testSortedSets(): void
    {
        if (!\in_array('sorted', $this->kv->stats()['can'], true)) {
            $this->expectException(KVException::class);
            $this->expectExceptionMessage('unsupported');
        }
        $set = $this->kv->sorted('scores');
        self::assertSame(3, $set->add(['ada' => 10, 'bob' => 5.5, 'cy' => -1]));
        self::assertSame(0, $set->add(['bob' => 6]));
        self::assertSame(8.5, $set->increment('bob', 2.5));
        self::assertSame(['cy' => -1.0, 'bob' => 8.5, 'ada' => 10.0], $set->range());
        self::assertSame(['ada' => 10.0, 'bob' => 8.5], $set->top(2));
        self::assertSame([], $set->top(0));
        self::assertSame(['cy' => -1.0], $set->between(null, 0));
        self::assertSame(['ada' => 10.0], $set->between(0, null, reverse: true, limit: 1));
        self::assertSame([0, 2, null], [$set->rank('ada', reverse: true), $set->rank('ada'), $set->rank('nobody')]);
        self::assertSame([8.5, null], [$set->score('bob'), $set->score('nobody')]);
        self::assertSame(3, $set->count());
        self::assertSame(1, $set->remove('cy', 'nobody'));
        self::assertSame(2, $set->count());
    }

    public function testBatch(): void
    {
        $this->kv->set('name', 'Ada');
        $this->kv->set('text', 'x');
        $out = $this->kv->batch()
            ->increment('visits', 2)->set('seen', true, 60)->get('name')->get('none', 'd')->add('seen', 1)->increment('text')
            ->setTagged('t', 1, ['tag'])->touch('t', 60)->remove('none')->op('Get', ['key' => 'visits'])->run();
        self::assertInstanceOf(KVException::class, $out[5]);
        unset($out[5]);
        $result = \array_pop($out);
        self::assertSame('2', $result['value']);
        self::assertSame([2, true, 'Ada', 'd', false, true, true, false], \array_values($out));
        self::assertTrue($this->kv->get('seen'));
        self::assertSame([], $this->kv->batch()->run());
    }

    public function testStats(): void
    {
        $this->kv->set('a', 1);
        $this->kv->get('a');
        $stats = $this->kv->stats();
        self::assertNotSame('', $stats['driver']);
        self::assertContains('update', $stats['can']);
    }

    public function testLongKeysAndValues(): void
    {
        foreach ([1, 124, 125, 126, 127, 128, 129, 300, 2000] as $size) {
            $key = \str_repeat('k', $size);
            self::assertSame('default', $this->kv->get($key, 'default'));
            foreach ([0, 1, 100, 110, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 15980, 15990, 16000, 16370, 16380, 16390, 20000] as $length) {
                $value = \str_repeat('v', $length);
                $this->kv->set($key, $value);
                self::assertSame($value, $this->kv->get($key), "key $size, value $length");
                self::assertSame(['none' => 7, $key => $value], $this->kv->getMultiple(['none', $key], 7), "key $size, value $length");
            }
        }
    }
}
