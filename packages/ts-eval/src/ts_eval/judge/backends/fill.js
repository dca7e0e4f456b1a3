// Enters a text into a box of a page, as typing would: arguments are the box and the text.
const [box, text] = arguments;
box.focus();
if (box.isContentEditable) { box.textContent = text; }
else {
  const kind = box.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(box, text);
}
box.dispatchEvent(new InputEvent('input', {bubbles: true}));
