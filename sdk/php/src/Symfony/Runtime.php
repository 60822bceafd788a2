<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Symfony\Component\HttpKernel\HttpKernelInterface;
use Symfony\Component\Runtime\RunnerInterface;
use Symfony\Component\Runtime\SymfonyRuntime;

/**
 * For symfony/runtime: with APP_RUNTIME=Edge\Symfony\Runtime in the environment of the pool, the application's own
 * public/index.php is the worker. Outside of Edge it is Symfony's runtime, so bin/console and php-fpm work as before.
 */
class Runtime extends SymfonyRuntime
{
    public function __construct(array $options = [])
    {
        if (Runner::isWorker()) {
            // trusted_proxies: REMOTE_ADDR means whoever sent the request; see Runner.
            $_SERVER['REMOTE_ADDR'] ??= Runner::ANY_PROXY;
        }
        parent::__construct($options);
    }

    public function getRunner(?object $application): RunnerInterface
    {
        if ($application instanceof HttpKernelInterface && Runner::isWorker()) {
            return new Runner($application);
        }

        return parent::getRunner($application);
    }
}
