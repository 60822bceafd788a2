<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\Mercure;
use Symfony\Component\Mercure\HubInterface;
use Symfony\Component\Mercure\Jwt\TokenFactoryInterface;
use Symfony\Component\Mercure\Jwt\TokenProviderInterface;
use Symfony\Component\Mercure\Update;

/**
 * The hub of the server as one of symfony/mercure: what publishes through HubInterface does so over the connection of the worker. Tokens for
 * subscribers and the discovery are those of Symfony. Decorate the hub that MercureBundle makes:
 *
 *     Edge\Symfony\MercureHub:
 *         decorates: mercure.hub.default
 *         arguments: ['@.inner']
 */
final class MercureHub implements HubInterface
{
    private readonly Mercure $mercure;

    public function __construct(private readonly HubInterface $inner, ?Mercure $mercure = null)
    {
        $this->mercure = $mercure ?? new Mercure();
    }

    public function getUrl(): string
    {
        return $this->inner->getUrl();
    }

    public function getPublicUrl(): string
    {
        return $this->inner->getPublicUrl();
    }

    public function getProvider(): TokenProviderInterface
    {
        return $this->inner->getProvider();
    }

    public function getFactory(): ?TokenFactoryInterface
    {
        return $this->inner->getFactory();
    }

    public function publish(Update $update): string
    {
        return $this->mercure->publish(
            $update->getTopics(), $update->getData(), $update->isPrivate(), $update->getId(), $update->getType(), $update->getRetry(),
        );
    }
}
