"""A training loop of plain PyTorch that looks at what its model says, and cannot hang in `generate()`.

python examples/training_loop.py     a tiny random model, made on the spot; one of its examples never ends
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import hangtight
from hangtight.training import guard

STEPS, LOOK_EVERY = 30, 10
LIMIT = 0.5  # seconds; 60 in a real run
WHOLE, NEVER_ENDS = 20, 1_000  # new tokens

torch.set_num_threads(1)
torch.manual_seed(0)
config = GPT2Config(
    vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=2_000, bos_token_id=None, eos_token_id=None
)
model = GPT2LMHeadModel(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)


def look(step: int, new_tokens: int) -> None:
    """What the model says by now; a generation that takes too long costs its limit, and not the run."""
    prompt = torch.tensor([[1, 2, 3]])
    model.eval()
    with guard(LIMIT, model=model) as g:
        model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new_tokens)
    print(f"step {step}: {g.tokens} tokens, {g.verdict}")


for step in range(1, STEPS + 1):
    model.train()
    batch = torch.randint(64, (4, 16))
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % LOOK_EVERY == 0:
        print(f"step {step}/{STEPS} | loss {loss.item():.4f}")
        try:
            look(step, NEVER_ENDS if step == 2 * LOOK_EVERY else WHOLE)
        except hangtight.GenerationTimeout as late:
            print(f"step {step}: {late.tokens} tokens were kept\n{type(late).__name__}: {late}")

print("training is complete")
